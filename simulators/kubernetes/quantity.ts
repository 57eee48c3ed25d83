const pattern = /^([+-]?(?:\d+\.?\d*|\.\d+))(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|u|n|[eE][+-]?\d+)?$/;

const factors: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** Says whether a text is an amount of a resource. @see https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ */
export function isQuantity(text: string): boolean {
  return pattern.test(text);
}

/** Gives an amount as a number: processors, bytes, pieces; 0 for what is no quantity. */
export function amountOf(quantity: string | number | undefined): number {
  if (quantity === undefined) return 0;
  const [, number = '0', suffix = ''] = pattern.exec(String(quantity)) ?? [];
  const exponent = /^[eE]([+-]?\d+)$/.exec(suffix)?.[1];
  return Number(number) * (exponent === undefined ? (factors[suffix] ?? 1) : 10 ** Number(exponent));
}

/** Writes an amount: processors in thousandths where they are not whole, everything else as it is. */
export function quantityOf(resource: string, amount: number): string {
  if (!resource.endsWith('cpu')) return String(Math.round(amount));
  return Number.isInteger(amount) ? String(amount) : `${Math.round(amount * 1000)}m`;
}
