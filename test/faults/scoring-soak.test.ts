import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { expect, onTestFinished, test } from 'vitest';
import { startProgram } from '../agent/scoring/scoring-program.ts';
import { makeRoot, readDigits } from '../agent/scoring/scoring-rig.ts';
import { temporaryFolder } from '../temporary-folder.ts';

/** How long it goes on; ten minutes say whether memory grows, a few seconds whether answers are right. */
const soakSeconds = Number(process.env['SOAK_SECONDS'] ?? 8);
const seed = Number(process.env['SOAK_SEED'] ?? Date.now() % 1_000_000);

/** Clients that wait for their answers, and those that do not. */
const honestClients = 12;
const killEveryMs = Math.max(1500, soakSeconds * 10);
const sampleEveryMs = 500;

/** What worker processes answer. */
const workerPath = '/v2/models/identity-float32/infer';

/** A request without an answer for so long has none. */
const answerTimeoutMs = 30_000;

/** Memory may grow by so much from after the warm-up to the end. It is looked at where there is time for it. */
const growthMax = 1.1;
const growthSecondsMin = 60;

test(
  `a server at saturation, with crashing clients and killed workers, answers all and right for ${soakSeconds} s`,
  { timeout: (soakSeconds + 120) * 1000 },
  async () => {
    process.stderr.write(`SOAK_SEED=${seed}\n`);
    await using folder = await temporaryFolder();
    await makeRoot(folder.path, {
      identities: [{ type: 'float32', shape: ['n'], heavy: true }],
      only: ['digits', 'identity-float32'],
    });
    const rows = await referenceRows(join(folder.path, 'models/digits/digits-mlp.onnx'));
    await using program = startProgram(folder.path, { WORKER_COUNT: '2', MODELFERRY_LOG_LEVEL: 'info' });
    const url = await program.url();
    const soak = new Soak(url, { rows, serverId: program.process.pid ?? 0 });
    onTestFinished(() => soak.stop());
    await soak.run(soakSeconds * 1000);
    const { counts, memoryMb } = soak;
    const settled = memoryMb.slice(Math.floor(memoryMb.length / 4));
    const [begin, end] = [median(settled.slice(0, settled.length >> 2)), median(settled.slice(-(settled.length >> 2)))];
    process.stderr.write(`${JSON.stringify(counts)}, memory ${begin.toFixed(0)} to ${end.toFixed(0)} MB\n`);
    expect(counts.wrong).toEqual([]);
    expect(counts.right).toBeGreaterThan(100);
    expect(counts.crashed).toBeGreaterThan(0);
    expect(counts.cancelled).toBeGreaterThan(0);
    expect(counts.killed).toBeGreaterThan(0);
    // A worker that is killed fails the request that it was at, and no other.
    expect(counts.failed).toBeLessThanOrEqual(counts.killed);
    const growth = soakSeconds >= growthSecondsMin ? end / begin : 1;
    expect(growth).toBeLessThan(growthMax);
    program.process.kill('SIGTERM');
    expect(await program.exitCode()).toBe(0);
  },
);

interface ReferenceRow {
  readonly pixels: readonly number[];
  readonly label: number;
  readonly probabilities: readonly number[];
}

/** What ONNX Runtime itself answers, row by row. */
async function referenceRows(path: string): Promise<ReferenceRow[]> {
  const session = await InferenceSession.create(path, { intraOpNumThreads: 1 });
  const rows: ReferenceRow[] = [];
  for (const pixels of (await readDigits()).pixels) {
    const { label, probabilities } = await session.run({
      pixels: new Tensor('float32', Float32Array.from(pixels), [1, 64]),
    });
    rows.push({
      pixels,
      label: Number(label?.data[0]),
      probabilities: Array.from((probabilities?.data ?? []) as Float32Array),
    });
  }
  return rows;
}

/** The clients, whoever kills, and what comes of it. */
class Soak {
  readonly counts = { right: 0, failed: 0, crashed: 0, cancelled: 0, killed: 0, wrong: [] as string[] };
  readonly memoryMb: number[] = [];
  readonly #url: string;
  readonly #rows: readonly ReferenceRow[];
  readonly #serverId: number;
  readonly #random = seeded(seed);
  #going = true;
  /** Whether a worker has answered since the last was killed. */
  #workersAnswered = false;

  constructor(url: string, { rows, serverId }: { readonly rows: readonly ReferenceRow[]; readonly serverId: number }) {
    this.#url = url;
    this.#rows = rows;
    this.#serverId = serverId;
  }

  async run(ms: number): Promise<void> {
    const clients = [
      ...Array.from({ length: honestClients }, () => this.#repeat(() => this.#askHonestly())),
      this.#repeat(() => this.#cancel()),
      this.#repeat(() => this.#crash()),
      this.#repeat(() => this.#kill()),
      this.#repeat(() => this.#sample()),
    ];
    await sleep(ms);
    this.stop();
    await Promise.all(clients);
  }

  stop(): void {
    this.#going = false;
  }

  async #repeat(act: () => Promise<void>): Promise<void> {
    while (this.#going) await act();
  }

  async #askHonestly(): Promise<void> {
    const { path, body, isRight } = this.#random() < 0.7 ? this.#digitsRequest() : this.#identityRequest();
    try {
      const signal = AbortSignal.timeout(answerTimeoutMs);
      const answer = await fetch(this.#url + path, { method: 'POST', body: JSON.stringify(body), signal });
      const text = await answer.text();
      if (answer.status === 200 && isRight(JSON.parse(text))) {
        this.counts.right += 1;
        if (path === workerPath) this.#workersAnswered = true;
      } else if (answer.status === 500 && text.includes('the worker ended')) this.counts.failed += 1;
      else this.#wrong(`${path}: ${answer.status} ${text.slice(0, 500)}`);
    } catch (error) {
      const cause = error instanceof Error ? String(error.cause) : '';
      this.#wrong(`${path}: no answer: ${String(error)} ${cause}`);
    }
  }

  /** Keeps what was wrong, and tells it at once: a run that is ended from outside must not take it along. */
  #wrong(what: string): void {
    const entry = `${new Date().toISOString()} ${what}`;
    this.counts.wrong.push(entry);
    process.stderr.write(`wrong: ${entry}\n`);
  }

  #digitsRequest(): SoakRequest {
    const count = 1 + Math.floor(this.#random() * 4);
    const rows = Array.from({ length: count }, () => this.#rows[Math.floor(this.#random() * this.#rows.length)]).filter(
      (row) => row !== undefined,
    );
    return {
      path: '/v2/models/digits/versions/1/infer',
      body: {
        inputs: [{ name: 'pixels', datatype: 'FP32', shape: [count, 64], data: rows.flatMap(({ pixels }) => pixels) }],
      },
      isRight: (document) => {
        const { outputs } = document as { outputs: { name: string; data: number[] }[] };
        const data = (name: string): number[] => outputs.find((output) => output.name === name)?.data ?? [];
        const probabilities = rows.flatMap((row) => row.probabilities);
        const given = data('probabilities').map(Math.fround);
        return (
          String(data('label')) === String(rows.map(({ label }) => label)) &&
          given.length === probabilities.length &&
          given.every((value, index) => value === probabilities[index])
        );
      },
    };
  }

  #identityRequest(): SoakRequest {
    const values = Array.from({ length: Math.floor(this.#random() * 2000) }, () => Math.floor(this.#random() * 1e6));
    return {
      path: workerPath,
      body: { inputs: [{ name: 'x', datatype: 'FP32', shape: [values.length], data: values }] },
      isRight: (document) =>
        String((document as { outputs: { data: number[] }[] }).outputs[0]?.data) === String(values),
    };
  }

  /** Asks, and goes before the answer is there. */
  async #cancel(): Promise<void> {
    const { path, body } = this.#random() < 0.5 ? this.#digitsRequest() : this.#identityRequest();
    const gone = new AbortController();
    const asked = fetch(this.#url + path, { method: 'POST', body: JSON.stringify(body), signal: gone.signal });
    await sleep(this.#random() * 10);
    gone.abort();
    const answer = await asked.catch(() => undefined);
    await answer?.arrayBuffer().catch(() => undefined);
    this.counts.cancelled += 1;
  }

  /** Sends a piece of a request, and resets the connection. */
  async #crash(): Promise<void> {
    const { path, body } = this.#identityRequest();
    const text = JSON.stringify(body);
    const { hostname, port } = new URL(this.#url);
    const socket = connect({ host: hostname, port: Number(port) });
    socket.on('error', () => undefined);
    const request = `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
    socket.write(request.slice(0, Math.floor(this.#random() * (request.length + 1))));
    await sleep(this.#random() * 20);
    socket.resetAndDestroy();
    this.counts.crashed += 1;
  }

  async #kill(): Promise<void> {
    await sleep(Math.min(killEveryMs, 6000));
    // On a busy machine a worker takes long to start: where each is killed before it is ready, none ever answers.
    if (!this.#workersAnswered) return;
    this.#workersAnswered = false;
    const workers = childrenOf(this.#serverId);
    const victim = workers[Math.floor(this.#random() * workers.length)];
    if (!this.#going || victim === undefined) return;
    process.kill(victim, 'SIGKILL');
    this.counts.killed += 1;
  }

  /** Memory of the server itself: its workers come and go. */
  async #sample(): Promise<void> {
    const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.#serverId}/status`, 'utf8')) ?? [];
    this.memoryMb.push(Number(kilobytes) / 1000);
    await sleep(sampleEveryMs);
  }
}

interface SoakRequest {
  readonly path: string;
  readonly body: unknown;
  readonly isRight: (document: unknown) => boolean;
}

function childrenOf(id: number): number[] {
  return readFileSync(`/proc/${id}/task/${id}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[values.length >> 1] ?? 0;
}

/** Numbers from 0 to 1 that the seed decides. @see mulberry32 */
function seeded(from: number): () => number {
  let state = from;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
