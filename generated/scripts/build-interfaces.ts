// npm run build: builds every interface into its own `dist`.
import { fileURLToPath } from 'node:url';
import { buildInterface, findInterfaces } from './local/interfaces';

const found = await findInterfaces(fileURLToPath(new URL('..', import.meta.url)));
if (found.length === 0) {
  process.stderr.write(
    'there is nothing under interfaces/ with an index.html and a vite.config.ts\n',
  );
  process.exitCode = 1;
}
for (const one of found) {
  process.stderr.write(`interfaces/${one.name}\n`);
  try {
    await buildInterface(one);
  } catch (error) {
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
