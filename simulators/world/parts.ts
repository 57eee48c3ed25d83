/** What the local world consists of. */
export const worldParts = ['registry', 'hub', 'storage', 'arm', 'kubernetes'] as const;

/** A part of the local world that can be started for its own sake. */
export type WorldPart = (typeof worldParts)[number];
