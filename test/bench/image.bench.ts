import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { LocalWorld } from '../../cloud/local-world.ts';
import { Workspace } from '../../cloud/workspace/workspace.ts';
import { message } from '../../cloud/models/protobuf-message.ts';
import { identityGraph } from '../cloud/models/onnx-writer.ts';
import { dockerAnswers } from '../docker.ts';
import { hasCommand } from '../shared/oci/commands.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import type { Bench, Measure } from './measure.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
/** What `npx ferry` starts where the package is installed. */
const ferry = join(root, 'dist', 'ferry.mjs');
const modelBytes = 100_000_000;

/**
 * Registering, building and pushing a model of 100 MB, as commands of the published package, each with the start of its process
 * (the sources, as a checkout runs them, take 80 ms longer to load). The workspace has its base and engine layers already, and a registry on this machine over a layout of its own.
 */
export async function openBench(): Promise<Bench> {
  const folder = await temporaryFolder();
  const world = await LocalWorld.start({
    folder: join(folder.path, 'world'),
    layoutFolder: join(folder.path, 'registry'),
    only: ['registry'],
    signal: AbortSignal.timeout(60_000),
  });
  const { registry = '' } = world.endpoints;
  using workspace = await Workspace.create(folder.path, { name: 'bench' });
  await workspace.setEndpoints({ registry }, {});
  const rig = new ImageRig(folder.path, registry);
  await rig.prepare();
  return {
    measures: [
      ...measuresOf(rig),
      ...(dockerAnswers ? [againstDocker(rig)] : []),
      ...((await hasCommand('crane', 'version')) ? [againstCrane(rig)] : []),
    ],
    [Symbol.asyncDispose]: async () => {
      await rig.removeDockerImages();
      await world[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function measuresOf(rig: ImageRig): readonly Measure[] {
  return [
    {
      figure: 'register a new model of 100 MB',
      unit: 'ms',
      sample: async () => {
        await rig.changeModel();
        return rig.ferry('model', 'register', rig.model, '--name', 'big');
      },
      reference: { name: 'sha256sum and cp', sample: () => rig.hashAndCopy() },
      bar: { atMost: 1.5 },
    },
    {
      figure: 'build and push its image, beyond process start',
      unit: 'ms',
      sample: async () => {
        await rig.changeModel();
        await rig.ferry('model', 'register', rig.model, '--name', 'big');
        // The registry has the model already, as it has after the model was pushed once.
        await rig.ferry('image', 'create', '--name', 'other', '--model', 'big');
        const start = await rig.ferry('workspace', 'show');
        return (await rig.ferry('image', 'create', '--name', 'bench', '--model', 'big')) - start;
      },
      bar: { atMost: 300 },
    },
    {
      figure: 'build and push again with nothing changed',
      unit: 'ms',
      sample: () => rig.ferry('image', 'create', '--name', 'bench', '--model', 'big'),
      bar: { atMost: 250 },
    },
    {
      figure: 'register, build and push after a new model of 100 MB, by two commands',
      unit: 'ms',
      sample: () => rig.rebuildByTwo(),
    },
  ];
}

function againstDocker(rig: ImageRig): Measure {
  return {
    figure: 'register, build and push after a new model of 100 MB',
    unit: 'ms',
    sample: () => rig.rebuild(),
    reference: { name: 'docker build and docker push', sample: () => rig.dockerBuildAndPush() },
    bar: { atMost: 1 / 8 },
  };
}

function againstCrane(rig: ImageRig): Measure {
  return {
    figure: 'the same',
    unit: 'ms',
    sample: () => rig.rebuild(),
    reference: { name: 'tar and crane append', sample: () => rig.craneAppend() },
    bar: { atMost: 1 },
  };
}

/** The steps that are measured, each giving the milliseconds that it took. */
class ImageRig {
  readonly model: string;
  readonly #folder: string;
  readonly #registry: string;
  /** Ids of the images that Docker built. */
  readonly #built = new Set<string>();

  constructor(folder: string, registry: string) {
    this.model = join(folder, 'docker', 'model.onnx');
    this.#folder = folder;
    this.#registry = registry;
  }

  async prepare(): Promise<void> {
    await run(process.execPath, [join(root, '.build', 'build.ts')]);
    const tensor = message([1, modelBytes], [2, 2], [8, 'weights'], [9, randomBytes(modelBytes)]);
    await mkdir(join(this.#folder, 'docker'));
    await writeFile(this.model, message([1, 8], [8, message([2, 13])], [7, message(...identityGraph, [5, tensor])]));
    await this.ferry('model', 'register', this.model, '--name', 'big');
    await this.ferry('image', 'create', '--name', 'bench', '--model', 'big');
    if (!dockerAnswers) return;
    await run('skopeo', [
      'copy',
      `docker://${this.#registry}/bench:1`,
      'docker-daemon:mf-images-bench:base',
      '--src-tls-verify=false',
    ]);
    const dockerfile = 'FROM mf-images-bench:base\nCOPY model.onnx /models/big/model.onnx\n';
    await writeFile(join(this.#folder, 'docker', 'Dockerfile'), dockerfile);
    await this.dockerBuildAndPush();
  }

  async ferry(...args: string[]): Promise<number> {
    const startMs = performance.now();
    await run(process.execPath, [ferry, ...args], { cwd: this.#folder });
    return performance.now() - startMs;
  }

  /** Registers another model of the same size, builds its image and pushes both. */
  async rebuild(): Promise<number> {
    await this.changeModel();
    return this.ferry('image', 'create', '--name', 'bench', '--model-file', `big=${this.model}`);
  }

  /** The same by two commands. */
  async rebuildByTwo(): Promise<number> {
    await this.changeModel();
    const registerMs = await this.ferry('model', 'register', this.model, '--name', 'big');
    return registerMs + (await this.ferry('image', 'create', '--name', 'bench', '--model', 'big'));
  }

  /** Makes it another model of the same size, as a training does. */
  async changeModel(): Promise<void> {
    await using file = await open(this.model, 'r+');
    await file.write(randomBytes(4096), 0, 4096, modelBytes / 2);
    // What the disk still has to do, for whoever it is, is not to be waited for by what is measured next.
    await run('sync');
  }

  hashAndCopy(): Promise<number> {
    const copy = join(this.#folder, 'copy.onnx');
    return timed(async () => {
      await run('sha256sum', [this.model]);
      await run('cp', [this.model, copy]);
      // What is registered is durable, so the copy is made so too.
      await run('sync', [copy]);
    });
  }

  async dockerBuildAndPush(): Promise<number> {
    await this.changeModel();
    const tag = `${this.#registry}/docker-bench:1`;
    return timed(async () => {
      const { stdout } = await run('docker', ['build', '--quiet', '--tag', tag, join(this.#folder, 'docker')]);
      this.#built.add(stdout.trim());
      await run('docker', ['push', '--quiet', tag]);
    });
  }

  async craneAppend(): Promise<number> {
    await this.changeModel();
    const tar = join(this.#folder, 'model.tar');
    const [base, tag] = [`${this.#registry}/bench:1`, `${this.#registry}/crane-bench:1`];
    return timed(async () => {
      await run('tar', ['-C', join(this.#folder, 'docker'), '-cf', tar, 'model.onnx']);
      await run('crane', ['append', '--base', base, '--new_layer', tar, '--new_tag', tag]);
    });
  }

  async removeDockerImages(): Promise<void> {
    if (!dockerAnswers) return;
    await run('docker', ['rmi', '--force', ...this.#built, 'mf-images-bench:base']);
  }
}

async function timed(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}
