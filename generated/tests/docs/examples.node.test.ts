// Every curl command of the documentation is run against the local system and gives what its page shows.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LocalSystem, startLocalSystem } from '@/scripts/local/system';
import { differences, missingLines } from './answers';
import { examplesOf, readPages } from './pages';
import { type Outcome, runBlocks } from './shell';

const PAGES = readPages()
  .map((page) => ({ path: page.path, examples: examplesOf(page) }))
  .filter(({ examples }) => examples.length > 0)
  // The page that exhausts a limit comes last.
  .sort((a, b) => Number(a.path.includes('image-gen')) - Number(b.path.includes('image-gen')));

let system: LocalSystem;
let variables: Record<string, string>;

beforeAll(async () => {
  system = await startLocalSystem({ interfaces: false });
  const { configService, workers } = system.urls;
  variables = {
    CONFIG_URL: configService,
    PRODUCTION_URL: workers.production?.['image-gen'] ?? '',
    DEVELOPMENT_URL: workers.development?.['image-gen'] ?? '',
    ADMIN_KEY: system.keys.superadmin,
    USER_KEY: system.keys.user,
  };
}, 120_000);

afterAll(async () => {
  await system.stop();
}, 30_000);

function problemsOf({ status, answer }: (typeof PAGES)[0]['examples'][0], outcome: Outcome) {
  const statusProblem =
    status === outcome.status ? [] : [`status ${outcome.status} instead of ${status}`];
  if (answer === null) {
    return statusProblem;
  }
  const contentProblems =
    answer.language === 'json'
      ? differences(JSON.parse(answer.text), JSON.parse(outcome.output))
      : missingLines(answer.text, outcome.output);
  return [...statusProblem, ...contentProblems];
}

describe.each(PAGES)('$path', ({ examples }) => {
  it('says what each command answers', () => {
    const silent = examples.filter(({ isRemote, status }) => !isRemote && status === null);
    expect(silent.map(({ line }) => `line ${line}`)).toEqual([]);
  });

  it('shows what its commands give', async () => {
    const local = examples.filter(({ isRemote }) => !isRemote);
    const outcomes = await runBlocks(
      local.map(({ command }) => command),
      variables,
    );
    const problems = local.flatMap((example, index) =>
      problemsOf(example, outcomes[index] ?? { output: '', status: null }).map(
        (problem) => `line ${example.line}: ${problem}`,
      ),
    );
    expect(problems).toEqual([]);
  }, 60_000);

  it('has commands for a real account in the same form', () => {
    for (const { command } of examples.filter(({ isRemote }) => isRemote)) {
      expect(command).toMatch(/^curl -sS (-\S+ )*"?https:\/\/[\w.-]+\.example\.workers\.dev\/\w+/);
    }
  });
});
