/** Milliseconds between .NET's first day (0001-01-01) and 1970. */
const epochOffsetMs = 62_135_596_800_000n;

/** Gives a time as the hub writes it: ISO 8601 in UTC with milliseconds. */
export function timeOf(nowMs: number): string {
  return new Date(nowMs).toISOString();
}

/** Gives a time in .NET ticks (100 ns since the year 1). */
export function ticksOf(nowMs: number): bigint {
  return (BigInt(Math.trunc(nowMs)) + epochOffsetMs) * 10_000n;
}
