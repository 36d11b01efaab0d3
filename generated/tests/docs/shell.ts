// Runs the commands of a page as a reader would: in one shell, from top to bottom, with the variables of "getting started".
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Outcome {
  output: string;
  /** Of the last `curl`; null if it did not say one. */
  status: number | null;
}

const STATUS_LINE = /^@status (\d{3})$/gm;

/** `curl` also says the status, to standard error, where the page's own commands do not see it. */
const CURL = `curl() { command curl -w '%{stderr}@status %{http_code}\\n' "$@"; }`;

async function runShell(script: string, variables: Record<string, string>): Promise<void> {
  const { PATH = '' } = process.env;
  await new Promise<void>((resolve, reject) => {
    const shell = spawn('bash', ['-c', script], { env: { PATH, ...variables }, stdio: 'ignore' });
    shell.on('error', reject);
    shell.on('close', () => resolve());
  });
}

/** What each block gave, in their order. */
export async function runBlocks(
  blocks: readonly string[],
  variables: Record<string, string>,
): Promise<Outcome[]> {
  const folder = await mkdtemp(join(tmpdir(), 'documentation-'));
  try {
    const script = blocks.map(
      (block, index) => `{\n${block}\n} >"$OUTPUT/${index}.out" 2>"$OUTPUT/${index}.err"`,
    );
    await runShell([CURL, ...script].join('\n'), { ...variables, OUTPUT: folder });
    return await Promise.all(
      blocks.map(async (_, index) => {
        const [output, errors] = await Promise.all(
          ['out', 'err'].map((end) => readFile(join(folder, `${index}.${end}`), 'utf8')),
        );
        const status = [...(errors ?? '').matchAll(STATUS_LINE)].at(-1)?.[1];
        return { output: output ?? '', status: status === undefined ? null : Number(status) };
      }),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
