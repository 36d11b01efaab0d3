// The workflows read as data: what starts them, what they may do, in which order, and that nothing leaks.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(`${root}${path}`, 'utf8');

const Step = v.object({
  name: v.optional(v.string()),
  uses: v.optional(v.string()),
  run: v.optional(v.string()),
  if: v.optional(v.string()),
  with: v.optional(v.record(v.string(), v.unknown()), {}),
  env: v.optional(v.record(v.string(), v.string()), {}),
});
const Job = v.looseObject({
  needs: v.optional(v.string()),
  'runs-on': v.string(),
  'timeout-minutes': v.number(),
  environment: v.optional(v.string()),
  permissions: v.optional(v.unknown()),
  env: v.optional(v.record(v.string(), v.string()), {}),
  concurrency: v.optional(v.object({ group: v.string(), 'cancel-in-progress': v.boolean() })),
  strategy: v.optional(v.object({ matrix: v.object({ node: v.array(v.string()) }) })),
  steps: v.array(Step),
});
const Workflow = v.looseObject({
  name: v.string(),
  on: v.record(v.string(), v.unknown()),
  permissions: v.record(v.string(), v.string()),
  env: v.optional(v.record(v.string(), v.string()), {}),
  concurrency: v.optional(v.object({ group: v.string(), 'cancel-in-progress': v.boolean() })),
  defaults: v.object({ run: v.object({ shell: v.string() }) }),
  jobs: v.record(v.string(), Job),
});

const FILES = ['test.yml', 'deploy.yml', 'deploy-instance.yml'] as const;
const textOf = (file: string) => read(`.github/workflows/${file}`);
const load = (file: string) => v.parse(Workflow, parse(textOf(file)));
const stepsOf = (file: string) => Object.values(load(file).jobs).flatMap(({ steps }) => steps);
const commandsOf = (steps: readonly v.InferOutput<typeof Step>[]) =>
  steps.flatMap(({ run }) => (run === undefined ? [] : [run.trim()]));

test('there are these workflows and no others', () => {
  const files = readdirSync(`${root}.github/workflows`).filter((name) => /\.ya?ml$/.test(name));
  expect(files.sort()).toEqual([...FILES].sort());
});

describe.each(FILES)('%s', (file) => {
  const steps = stepsOf(file);

  test('pins each action to a commit, with the version in a comment', () => {
    const uses = textOf(file).match(/uses: .*/g) ?? [];
    expect(uses.length).toBeGreaterThan(0);
    for (const line of uses) {
      expect(line).toMatch(/^uses: [\w.-]+\/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
    }
  });

  test('may read the repository and nothing else', () => {
    const { permissions, jobs } = load(file);
    expect(permissions).toEqual({ contents: 'read' });
    for (const job of Object.values(jobs)) {
      expect(job.permissions).toBeUndefined();
    }
  });

  test('has a time limit for every job', () => {
    for (const job of Object.values(load(file).jobs)) {
      expect(job['timeout-minutes']).toBeLessThanOrEqual(45);
    }
  });

  test('leaves no credentials of git behind for later steps', () => {
    for (const step of steps.filter(({ uses }) => uses?.startsWith('actions/checkout@'))) {
      expect(step.with['persist-credentials']).toBe(false);
    }
  });

  test('has no expression in a command, and secrets only in the environment of steps', () => {
    const workflow = load(file);
    for (const command of commandsOf(steps)) {
      expect(command).not.toContain('${{');
    }
    const elsewhere = JSON.stringify({
      ...workflow,
      jobs: Object.values(workflow.jobs).map((job) => ({
        ...job,
        steps: job.steps.map(({ env: _, ...rest }) => rest),
      })),
    });
    expect(elsewhere).not.toMatch(/secrets[.[]/);
  });

  test('runs only scripts of package.json', () => {
    const scripts = v.parse(
      v.object({ scripts: v.record(v.string(), v.string()) }),
      JSON.parse(read('package.json')),
    ).scripts;
    const named = commandsOf(steps).flatMap((command) =>
      [...command.matchAll(/npm run (?:--silent )?([\w:-]+)/g)].map(([, name]) => name),
    );
    expect(named.length).toBeGreaterThan(0);
    for (const name of named) {
      expect(Object.keys(scripts)).toContain(name);
    }
  });

  test('stops its commands at the first failure, also within pipes', () => {
    // GitHub runs the shell `bash` with -e and -o pipefail; without a shell it would be -e alone.
    expect(load(file).defaults.run.shell).toBe('bash');
  });

  test('keeps long commands out of the workflow', () => {
    for (const command of commandsOf(steps)) {
      expect(command.split('\n').length).toBeLessThanOrEqual(8);
    }
  });

  test('runs only files that exist', () => {
    for (const command of commandsOf(steps)) {
      for (const [, path] of command.matchAll(/node (\S+\.mjs)/g)) {
        expect(read(path ?? '')).not.toBe('');
      }
    }
  });
});

describe('the test workflow', () => {
  test('runs for pull requests only, without any secret', () => {
    expect(load('test.yml').name).toBe('Test');
    expect(Object.keys(load('test.yml').on)).toEqual(['pull_request']);
    expect(textOf('test.yml')).not.toMatch(/secrets[.[]\w/);
  });

  test('installs from the lockfile, then lint, types, tests', () => {
    expect(commandsOf(stepsOf('test.yml'))).toEqual([
      'npm ci',
      'npm run lint',
      'npm run typecheck',
      'npm test',
    ]);
  });

  test('runs on every supported version of Node, that of .nvmrc among them', () => {
    const versions = load('test.yml').jobs.test?.strategy?.matrix.node ?? [];
    expect(versions).toContain(read('.nvmrc').trim());
    const { engines } = v.parse(
      v.object({ engines: v.object({ node: v.string() }) }),
      JSON.parse(read('package.json')),
    );
    expect(engines.node).toContain(versions[0]);
    expect(versions).toHaveLength(3);
  });

  test('is cancelled by a newer push to the same pull request', () => {
    const { concurrency } = load('test.yml');
    expect(concurrency?.group).toContain('github.event.pull_request.number');
    expect(concurrency?.['cancel-in-progress']).toBe(true);
  });
});

describe('the deploy workflow', () => {
  const { name, on, jobs } = load('deploy.yml');

  test('runs on pushes to main', () => {
    expect(name).toBe('Deploy');
    expect(on).toEqual({ push: { branches: ['main'] } });
  });

  test('deploys only what passed the same checks as a pull request', () => {
    expect(jobs.deploy?.needs).toBe('test');
    expect(commandsOf(jobs.test?.steps ?? [])).toEqual(commandsOf(stepsOf('test.yml')));
  });

  test('first says which secrets are missing, then deploys, then asks whether it answers', () => {
    const names = (jobs.deploy?.steps ?? []).map((step) => step.name ?? step.run ?? step.uses);
    expect(names[0]).toBe('Check that the secrets are set');
    expect(names.slice(-3)).toEqual(['npm ci', 'Deploy all instances', 'Smoke tests']);
  });
});

describe('the workflow for one instance', () => {
  const { on, jobs } = load('deploy-instance.yml');
  const steps = jobs.deploy?.steps ?? [];

  test('is started by hand, with an instance and a dry run to choose', () => {
    expect(on).toMatchObject({
      workflow_dispatch: {
        inputs: {
          instance: { type: 'string', required: true },
          dry_run: { type: 'boolean', default: false },
        },
      },
    });
  });

  test('runs in the environment of the instance', () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: this is how an expression is written there
    expect(jobs.deploy?.environment).toBe('${{ inputs.instance }}');
  });

  test('checks before it deploys, and asks afterwards unless nothing was deployed', () => {
    const order = steps.map((step) => step.name ?? step.run ?? '');
    expect(order[0]).toBe('Check that the secrets are set');
    const positions = ['npm test', 'Deploy the instance', 'Smoke tests'].map((one) =>
      order.indexOf(one),
    );
    expect(positions).toEqual([...positions].sort((left, right) => left - right));
    expect(positions).not.toContain(-1);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: this is how an expression is written there
    expect(steps.at(-1)?.if).toBe('${{ !inputs.dry_run }}');
  });
});

describe('both deployments', () => {
  test('never run at once, and none is cancelled', () => {
    const [all, one] = ['deploy.yml', 'deploy-instance.yml'].map(
      (file) => load(file).jobs.deploy?.concurrency,
    );
    expect(all).toEqual({ group: 'deploy', 'cancel-in-progress': false });
    expect(one).toEqual(all);
  });

  test('give their secrets to the step that deploys and to no other', () => {
    for (const file of ['deploy.yml', 'deploy-instance.yml']) {
      const withSecrets = stepsOf(file).filter((step) =>
        Object.values(step.env).some((value) => /secrets\.\w+ }}/.test(value)),
      );
      expect(withSecrets.map((step) => step.name)).toEqual([
        file === 'deploy.yml' ? 'Deploy all instances' : 'Deploy the instance',
      ]);
      expect(Object.keys(withSecrets[0]?.env ?? {})).toEqual(
        expect.arrayContaining(['CLOUDFLARE_API_TOKEN', 'CLOUDFLARE_ACCOUNT_ID']),
      );
    }
  });

  test('pass on every variable that an instance names', () => {
    for (const name of readdirSync(`${root}instances`)) {
      for (const [, variable = ''] of read(`instances/${name}`).matchAll(/"env:(\w+)"/g)) {
        for (const file of ['deploy.yml', 'deploy-instance.yml']) {
          expect(textOf(file)).toContain(`\${{ secrets.${variable} }}`);
        }
      }
    }
  });

  test('check the same secrets that they pass on', () => {
    const steps = load('deploy.yml').jobs.deploy?.steps ?? [];
    const checked = Object.keys(steps[0]?.env ?? {});
    expect(checked).toEqual(
      Object.keys(steps.find((step) => step.name === 'Deploy all instances')?.env ?? {}),
    );
    for (const name of checked) {
      expect(steps[0]?.run).toContain(name);
    }
  });
});

describe('docs/ci-cd.md', () => {
  const page = read('docs/ci-cd.md');

  test.each(FILES)('describes %s', (file) => {
    expect(page).toContain(file);
  });

  test('describes each secret, each environment and how to start by hand', () => {
    const secrets = new Set(
      FILES.flatMap((file) =>
        [...textOf(file).matchAll(/secrets\.(\w+)/g)].map(([, name]) => name),
      ),
    );
    for (const name of secrets) {
      expect(page).toContain(`| \`${name}\``);
    }
    for (const instance of ['`production`', '`development`']) {
      expect(page).toContain(instance);
    }
    expect(page).toContain('gh workflow run deploy-instance.yml');
    expect(page).toContain('```mermaid');
  });

  test('names the versions that are pinned', () => {
    for (const file of FILES) {
      for (const [, version] of textOf(file).matchAll(/@[0-9a-f]{40} # (\S+)/g)) {
        expect(page).toContain(`\`${version}\``);
      }
    }
  });

  test('links only to files that exist', () => {
    for (const [, path = ''] of page.matchAll(
      /`((?:scripts|instances|\.github)\/[\w./-]+\.\w+)`/g,
    )) {
      expect(read(path)).not.toBe('');
    }
  });
});
