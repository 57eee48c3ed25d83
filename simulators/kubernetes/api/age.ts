/**
 * Writes how long ago a time was as `kubectl` does: `45s`, `3m10s`, `2h`, `5d`.
 * @see k8s.io/apimachinery/pkg/util/duration, HumanDuration
 */
export function age(time: unknown, nowMs = Date.now()): string {
  if (typeof time !== 'string') return '<unknown>';
  const seconds = Math.max(0, Math.floor((nowMs - Date.parse(time)) / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  if (seconds < 120) return `${seconds}s`;
  if (minutes < 10) return pair(minutes, 'm', seconds % 60, 's');
  if (minutes < 180) return `${minutes}m`;
  if (hours < 8) return pair(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return `${hours}h`;
  if (days < 8) return pair(days, 'd', hours % 24, 'h');
  return days < 730 ? `${days}d` : `${Math.floor(days / 365)}y`;
}

function pair(large: number, unit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large}${unit}` : `${large}${unit}${small}${smallUnit}`;
}
