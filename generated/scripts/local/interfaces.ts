// The interfaces: found by their folders, built, and served as Cloudflare Pages serves them, with the rules of `_headers` and
// `_redirects`, and with a `config.json` that holds the addresses of this system.
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { build } from 'vite';
import { CommandError } from '../deployment/context';
import type { Handler } from './http';

const FOLDER = 'interfaces';

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.webp': 'image/webp',
  '.woff2': 'font/woff2',
};

export interface Interface {
  name: string;
  folder: string;
}

/** Every folder under `interfaces/` that has a page and a build. */
export async function findInterfaces(projectRoot: string): Promise<Interface[]> {
  const root = join(projectRoot, FOLDER);
  const entries = await readdir(root, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => ({ name, folder: join(root, name) }))
    .filter(
      ({ folder }) =>
        existsSync(join(folder, 'index.html')) && existsSync(join(folder, 'vite.config.ts')),
    )
    .sort((left, right) => left.name.localeCompare(right.name));
}

/** Builds into `outDir`, or where the interface's own configuration says. */
export async function buildInterface({ name, folder }: Interface, outDir?: string): Promise<void> {
  try {
    await build({
      root: folder,
      configFile: join(folder, 'vite.config.ts'),
      logLevel: 'warn',
      build: {
        ...(outDir === undefined ? {} : { outDir, emptyOutDir: true }),
        // How long a plugin took says how busy the machine is, and nothing about the interface.
        rolldownOptions: { checks: { pluginTimings: false } },
      },
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`${FOLDER}/${name} cannot be built: ${reason}`);
  }
}

interface HeaderRule {
  pattern: RegExp;
  headers: [string, string][];
}

function patternOf(path: string): RegExp {
  const escaped = path.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*');
  return new RegExp(`^${escaped}$`);
}

/** The rules of a `_headers` file: a path, and under it, indented, its headers. */
export function parseHeaderRules(text: string): HeaderRule[] {
  const rules: HeaderRule[] = [];
  for (const line of text.split('\n')) {
    const content = line.trim();
    if (content === '' || content.startsWith('#')) {
      continue;
    }
    if (/^\s/.test(line)) {
      const colon = content.indexOf(':');
      rules.at(-1)?.headers.push([content.slice(0, colon), content.slice(colon + 1).trim()]);
    } else {
      rules.push({ pattern: patternOf(content), headers: [] });
    }
  }
  return rules;
}

interface Rewrite {
  pattern: RegExp;
  target: string;
}

/** The rewrites of a `_redirects` file: `/path /target 200`. */
export function parseRewrites(text: string): Rewrite[] {
  return text.split('\n').flatMap((line) => {
    const [from, target, status] = line.trim().split(/\s+/);
    return from !== undefined && target !== undefined && status === '200' && !from.startsWith('#')
      ? [{ pattern: patternOf(from), target }]
      : [];
  });
}

const readOrNothing = (path: string) => readFile(path, 'utf8').catch(() => '');

/** Serves a built interface. `configuration` is asked for with each request: addresses may be known only later. */
export async function pagesHandler(
  directory: string,
  configuration: () => object,
): Promise<Handler> {
  const headerRules = parseHeaderRules(await readOrNothing(join(directory, '_headers')));
  const rewrites = parseRewrites(await readOrNothing(join(directory, '_redirects')));

  const find = async (pathname: string): Promise<{ path: string; bytes: Buffer } | null> => {
    const path = normalize(decodeURIComponent(pathname));
    if (path.startsWith('/_') || path.includes('..')) {
      return null;
    }
    for (const candidate of path.endsWith('/') ? [`${path}index.html`] : [path, `${path}.html`]) {
      const bytes = await readFile(join(directory, candidate)).catch(() => null);
      if (bytes !== null) {
        return { path: candidate, bytes };
      }
    }
    return null;
  };

  return async (request) => {
    const { pathname } = new URL(request.url);
    const headers = new Headers();
    for (const { pattern, headers: rule } of headerRules) {
      if (pattern.test(pathname)) {
        for (const [name, value] of rule) {
          headers.set(name, value);
        }
      }
    }
    if (pathname === '/config.json') {
      headers.set('Content-Type', CONTENT_TYPES['.json'] ?? '');
      return new Response(JSON.stringify(configuration()), { headers });
    }
    const rewrite = rewrites.find(({ pattern }) => pattern.test(pathname));
    const found =
      (await find(pathname)) ?? (rewrite === undefined ? null : await find(rewrite.target));
    if (found === null) {
      return new Response('not found\n', { status: 404, headers });
    }
    headers.set('Content-Type', CONTENT_TYPES[extname(found.path)] ?? 'application/octet-stream');
    return new Response(new Uint8Array(found.bytes), { headers });
  };
}
