/**
 * Takes the text out of Docker's output of a container without a terminal: pieces of standard output and standard error, each after
 * 8 bytes that say which and how long. Output of a container with a terminal has no such pieces and comes as it is.
 * @see https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach "Stream format"
 */
export function splitStreams(bytes: Buffer): string {
  const pieces: Buffer[] = [];
  let at = 0;
  while (at + 8 <= bytes.length) {
    const stream = bytes.readUInt8(at);
    if (stream > 2 || bytes.readUIntBE(at + 1, 3) !== 0) return bytes.toString('utf8');
    const length = bytes.readUInt32BE(at + 4);
    pieces.push(bytes.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return Buffer.concat(pieces).toString('utf8');
}
