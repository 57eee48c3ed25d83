/** A time that a line has itself: at its beginning, or as the field `time` of its JSON. */
const timePattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^\s]*)|"time"\s*:\s*"([^"]+)"/;

/**
 * Puts a time before each line, as the service does when it is asked for `timestamps`. The engines do not note when a line was written: it is
 * what the line says itself, else that of the line before, else the container's start.
 */
export function stampLines(text: string, startedAt: string): string {
  let time = startedAt;
  return text
    .split('\n')
    .map((line) => {
      if (line === '') return line;
      const found = timePattern.exec(line);
      const own = found?.[1] ?? found?.[2];
      if (own !== undefined && !Number.isNaN(Date.parse(own))) time = new Date(own).toISOString();
      return `${time} ${line}`;
    })
    .join('\n');
}
