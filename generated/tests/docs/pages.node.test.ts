// What the documentation names is there: pages, anchors, files, scripts, routes, error codes. And its diagrams have a form.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { STATUS_OF_CODE } from '@/workers/shared/error-handling/errors';
import { anchorsOf, blocksOf, proseOf, ROOT, readPages } from './pages';

const PAGES = readPages();
const fileAt = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const pageAt = (path: string) => PAGES.find((page) => page.path === path)?.text ?? '';
const packageFile: { scripts: Record<string, string> } = JSON.parse(fileAt('package.json'));

/** `GET /instance/{instance_id}` for each route of the code, by the names that the documentation uses. */
function routesOfCode(): string[] {
  const source = fileAt('infrastructure/config-service/routes.ts');
  const worker = fileAt('workers/image-gen/index.ts');
  return [
    ...[...source.matchAll(/(?:guarded|route)\('([A-Z]+)', '([^']+)'/g)],
    ...[...worker.matchAll(/route<[^(]*\('([A-Z]+)', '([^']+)'/g)],
  ].map(([, method = '', path = '']) => `${method} ${documented(path)}`);
}

const documented = (path: string) =>
  path.replaceAll(/:(\w+)/g, (_, name: string) => `{${name.replace('jobId', 'job_id')}}`);

const namedRoutes = (text: string) =>
  [...text.matchAll(/`(GET|POST|PUT|PATCH|DELETE) (\/[^`?]*)[^`]*`/g)].map(
    ([, method, path]) => `${method} ${path}`,
  );

const IMAGES_ROUTE = 'GET /images/{instance_id}/{project}/{name}';

describe.each(PAGES)('$path', (page) => {
  it('begins with one title, and says at once what it is for', () => {
    expect(page.text).toMatch(/^# .+\n\n\S.{20,}/);
    expect(proseOf(page).match(/^# /gm)).toHaveLength(1);
  });

  it('has links that lead somewhere', () => {
    const broken = [...proseOf(page).matchAll(/\]\(([^)]+)\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !/^https?:/.test(target))
      .filter((target) => {
        const [path = '', anchor] = target.split('#');
        const file = path === '' ? page.path : normalize(join(dirname(page.path), path));
        if (!existsSync(join(ROOT, file))) {
          return true;
        }
        return anchor !== undefined && !anchorsOf(fileAt(file)).includes(anchor);
      });
    expect(broken).toEqual([]);
  });

  it('names files and folders that are there', () => {
    const pattern =
      /(?<![\w./-])((?:infrastructure|workers|tests|scripts|instances|docs)\/[\w./-]*[\w/])/g;
    const missing = [...page.text.matchAll(pattern)]
      .map(([, path = '']) => path)
      // What the reader is told to make.
      .filter((path) => !path.includes('example-adapter') && !existsSync(join(ROOT, path)));
    expect(missing).toEqual([]);
  });

  it('names commands of the project that are there', () => {
    const scripts = [...page.text.matchAll(/npm run (?:--silent )?([\w:-]+)/g)].map(
      ([, name = '']) => name,
    );
    expect(scripts.filter((name) => !Object.hasOwn(packageFile.scripts, name))).toEqual([]);
  });

  it('names routes that are there', () => {
    const known = new Set([...routesOfCode(), IMAGES_ROUTE]);
    expect(namedRoutes(page.text).filter((route) => !known.has(route))).toEqual([]);
  });

  it('holds no key, and no diagram without a form', () => {
    expect(page.text).not.toMatch(/mas_[0-9A-Za-z]{20}/);
    for (const { language, text } of page.blocks) {
      expect(['sh', 'json', 'text', 'ts', 'mermaid']).toContain(language);
      if (language === 'json') {
        expect(() => JSON.parse(text)).not.toThrow();
      }
      if (language === 'mermaid') {
        expect(mermaidMistakes(text)).toEqual([]);
      }
    }
  });
});

const ARROW = '(?:-->|-- "[^"]+" -->)';
const NODE = String.raw`\w+(?:\[\(?[^\]()]+\)?\]|\[[^\]]+\])?`;
const FLOWCHART_LINE = new RegExp(
  `^(?:${NODE}(?: ${ARROW} ${NODE})*|subgraph \\w+ \\[[^\\]]+\\]|end)$`,
);
const SEQUENCE_LINE = /^(?:participant \w+ as .+|\w+(?:->>|-->>)\w+: .+)$/;

/** As far as it goes without Mermaid itself, which needs a browser: each line is one of the forms that are used here. */
function mermaidMistakes(text: string): string[] {
  const [head = '', ...lines] = text.split('\n').map((line) => line.trim());
  const form = /^flowchart (LR|TD)$/.test(head)
    ? FLOWCHART_LINE
    : head === 'sequenceDiagram'
      ? SEQUENCE_LINE
      : null;
  if (form === null) {
    return [`no known diagram: ${head}`];
  }
  const opened = lines.filter((line) => line.startsWith('subgraph ')).length;
  const closed = lines.filter((line) => line === 'end').length;
  return [
    ...lines.filter((line) => line !== '' && !form.test(line)),
    ...(opened === closed ? [] : ['a subgraph is not closed']),
  ];
}

describe('the reference', () => {
  it('has every route of both services in its tables', () => {
    const reference = `${pageAt('docs/api/config-service.md')}${pageAt('docs/api/image-generation.md')}`;
    const rows = namedRoutes(
      reference
        .split('\n')
        .filter((line) => line.startsWith('| `'))
        .join('\n'),
    );
    const routes = [...routesOfCode(), IMAGES_ROUTE];
    expect(routes.length).toBeGreaterThan(35);
    expect(routes.filter((route) => !rows.includes(route))).toEqual([]);
  });

  it('has every error code with its status, and no other', () => {
    const rows = [...pageAt('docs/api/README.md').matchAll(/^\| (\d{3}) \| `(\w+)` \|/gm)];
    expect(Object.fromEntries(rows.map(([, status, code]) => [code, Number(status)]))).toEqual(
      STATUS_OF_CODE,
    );
  });
});

describe('getting started', () => {
  it('sets every variable that the pages use', () => {
    const set = [...pageAt('docs/README.md').matchAll(/^export (\w+)=/gm)].map(([, name]) => name);
    const pageVariables = PAGES.flatMap(({ text }) =>
      blocksOf(text)
        .filter(({ language, text: block }) => language === 'sh' && /\bcurl\b/.test(block))
        .flatMap(({ text: block }) => {
          const ownNames = [...text.matchAll(/(?:^|\s)(\w+)=/gm)].map(([, name]) => name);
          return [...block.matchAll(/\$(\w+)/g)]
            .map(([, name]) => name)
            .filter((name) => !ownNames.includes(name));
        }),
    );
    expect(set.length).toBe(5);
    expect([...new Set(pageVariables)].filter((name) => !set.includes(name))).toEqual([]);
  });
});
