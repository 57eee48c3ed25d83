/** A request that is not answered with tensors; the protocol's body for it is `{"error": …}`. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
