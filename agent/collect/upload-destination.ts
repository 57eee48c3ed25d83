/**
 * Where sealed batches go: IoT Hub file upload at the edge, a storage SAS in the cloud.
 *
 * `upload` resolves when storage has the blob for good, and replaces a blob of that name: a batch that was sent before a crash
 * is sent again, the same bytes under the same name.
 */
export interface UploadDestination {
  upload(
    blob: { name: string; content: Uint8Array; contentType: string; metadata: Record<string, string> },
    signal: AbortSignal,
  ): Promise<void>;
}
