// The real wrangler with the arguments of a deployment, but only up to the point where it would upload. The first argument
// is the folder that takes the bundles, one folder for each name.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const [out, ...argv] = process.argv.slice(2);
const manifest = createRequire(import.meta.url).resolve('wrangler/package.json');
const name = argv[argv.indexOf('--name') + 1];
const { status } = spawnSync(
  process.execPath,
  [
    join(dirname(manifest), 'bin', 'wrangler.js'),
    ...argv,
    '--dry-run',
    '--outdir',
    join(out, name),
  ],
  { stdio: 'inherit' },
);
process.exit(status ?? 1);
