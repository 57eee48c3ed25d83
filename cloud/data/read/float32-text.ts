/** Writes a finite float32 as the shortest decimal that reads back as the same float32: `0.1`, not `0.10000000149011612`. */
export function float32Text(value: number): string {
  // The smallest have less than six digits; nine always suffice.
  for (let digits = Math.abs(value) < 1e-6 ? 1 : 6; digits < 9; digits += 1) {
    const rounded = Number(value.toPrecision(digits));
    if (Math.fround(rounded) === value) return String(rounded);
  }
  return String(Number(value.toPrecision(9)));
}
