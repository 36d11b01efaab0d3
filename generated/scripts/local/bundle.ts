// Bundles a Worker into one module, as wrangler does for a deployment.
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { build } from 'vite';
import { CommandError } from '../deployment/context';
import type { Worker } from '../deployment/workers';

/** What the runtime itself brings. */
const EXTERNAL = [/^cloudflare:/, /^node:/, ...builtinModules];

/** The text of the bundle. */
export async function bundleWorker(worker: Worker, projectRoot: string): Promise<string> {
  let outputs: Awaited<ReturnType<typeof build>>;
  try {
    outputs = await build({
      configFile: false,
      root: projectRoot,
      cacheDir: join(projectRoot, '.cache', 'vite-workers'),
      logLevel: 'silent',
      resolve: {
        alias: { '@/': `${projectRoot.replace(/\/?$/, '/')}` },
        conditions: ['workerd', 'worker', 'browser', 'import', 'module', 'default'],
      },
      ssr: { target: 'webworker', noExternal: true },
      build: {
        ssr: join(worker.folder, worker.raw.main ?? ''),
        write: false,
        minify: false,
        target: 'es2022',
        sourcemap: 'inline',
        rolldownOptions: { external: EXTERNAL, output: { codeSplitting: false } },
      },
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`${worker.shownPath}: cannot be bundled: ${reason}`);
  }
  const [first] = Array.isArray(outputs) ? outputs : [outputs];
  const chunk = first !== undefined && 'output' in first ? first.output[0] : undefined;
  if (chunk === undefined) {
    throw new CommandError(`${worker.shownPath}: the bundle is empty`);
  }
  return chunk.code;
}
