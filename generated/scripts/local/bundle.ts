// Bundles a Worker into one module, as wrangler does for a deployment.
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { build, type Rolldown } from 'vite';
import { CommandError } from '../deployment/context';
import type { Worker } from '../deployment/workers';

export interface Bundle {
  code: string;
  /** What the module exports: the classes of Durable Objects have to be among it. */
  exports: string[];
}

export async function bundleWorker(worker: Worker, projectRoot: string): Promise<Bundle> {
  let outputs: Awaited<ReturnType<typeof build>>;
  try {
    outputs = await build({
      configFile: false,
      root: projectRoot,
      cacheDir: join(projectRoot, '.cache', 'vite-workers'),
      publicDir: false,
      logLevel: 'silent',
      resolve: {
        alias: { '@/': projectRoot.replace(/\/?$/, '/') },
        conditions: ['workerd', 'worker', 'browser', 'import', 'module', 'default'],
      },
      ssr: { target: 'webworker', noExternal: true },
      build: {
        ssr: join(worker.folder, worker.raw.main ?? ''),
        write: false,
        minify: false,
        target: 'es2022',
        sourcemap: 'inline',
        // What the runtime itself brings.
        rolldownOptions: { external: [/^cloudflare:/, /^node:/], output: { codeSplitting: false } },
      },
    });
  } catch (error) {
    // The bundler paints its messages, which is of no use in a log.
    const reason = stripVTControlCharacters(error instanceof Error ? error.message : String(error));
    throw new CommandError(`${worker.shownPath}: cannot be bundled: ${reason}`);
  }
  const [first] = Array.isArray(outputs) ? outputs : [outputs];
  const chunks: readonly Rolldown.OutputChunk[] =
    first !== undefined && 'output' in first
      ? first.output.filter((one): one is Rolldown.OutputChunk => one.type === 'chunk')
      : [];
  const [chunk] = chunks;
  if (chunk === undefined) {
    throw new CommandError(`${worker.shownPath}: the bundle is empty`);
  }
  return { code: chunk.code, exports: chunk.exports };
}
