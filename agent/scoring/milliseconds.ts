/** Texts of the times up to two milliseconds, made when they are first needed: nearly all times are among them. */
const texts: string[] = [];
const keptMicroseconds = 2000;

/** Writes a time with three decimals, as headers have it: `0.042`. */
export function millisecondsText(milliseconds: number): string {
  const microseconds = Math.round(milliseconds * 1000);
  if (!(microseconds >= 0 && microseconds < keptMicroseconds)) return milliseconds.toFixed(3);
  return (texts[microseconds] ??= (microseconds / 1000).toFixed(3));
}
