import { type HubError, newTrackingId } from '../hub-error.ts';
import type { Twin } from '../twins/twin.ts';

/** Gives a twin as its device gets it: both sections with their versions, neither tags nor metadata. */
export function twinBody({ desired, reported }: Twin): string {
  return JSON.stringify({
    desired: { ...desired.value, $version: desired.version },
    reported: { ...reported.value, $version: reported.version },
  });
}

/** Gives an error as a device gets it; the SDK knows it by its `errorCode`, whatever the topic says. */
export function errorBody({ message, number }: HubError): string {
  return JSON.stringify({ message, errorCode: number, trackingId: newTrackingId(), details: null });
}
