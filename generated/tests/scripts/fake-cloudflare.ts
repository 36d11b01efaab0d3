// Cloudflare as far as the scripts use it, on 127.0.0.1: checks token, account, paths and bodies, runs queries on a real
// SQLite, and keeps the calls in their order. Faults are put in front of single calls.
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Miniflare } from 'miniflare';
import { unstable_splitSqlQuery } from 'wrangler';

export const ACCOUNT_ID = '0123456789abcdef0123456789abcdef';
export const API_TOKEN = 'planted-cloudflare-token-0123456789';

export interface Call {
  method: string;
  path: string;
  body: unknown;
}

export interface DeployedScript {
  message: string | null;
  uploads: number;
  secrets: Map<string, string>;
  config: Record<string, unknown>;
}

/** Answers instead of the call itself; `times` calls, then it is used up. */
export interface Fault {
  method: string;
  path: RegExp;
  body?: RegExp;
  times: number;
  status: number;
  code?: number;
  message?: string;
  headers?: Record<string, string>;
  /** Carries the call out all the same: the answer gets lost. */
  afterwards?: boolean;
}

/** Runs statements as one transaction where the database is: single calls from here would cost a round trip each. */
const SQL_WORKER = `export default {
  async fetch(request, { DB }) {
    const { statements, params } = await request.json();
    try {
      const prepared = statements.map((sql) => DB.prepare(sql));
      const bound = prepared.length === 1 ? [prepared[0].bind(...params)] : prepared;
      return Response.json({ results: await DB.batch(bound) });
    } catch (error) {
      return Response.json({ error: error.message });
    }
  },
};`;

interface SqlAnswer {
  results?: { results: Record<string, unknown>[]; meta: object }[];
  error?: string;
}

interface Answer {
  status: number;
  body: object;
}

function ok(result: unknown, info: object = {}): Answer {
  return {
    status: 200,
    body: { success: true, errors: [], messages: [], result, result_info: info },
  };
}

function refused(status: number, code: number, message: string): Answer {
  return {
    status,
    body: { success: false, errors: [{ code, message }], messages: [], result: null },
  };
}

const VERSION_ID = '22222222-2222-4222-8222-222222222222';

function annotationsOf({ message }: DeployedScript): Record<string, string> {
  return message === null ? {} : { 'workers/message': message };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export class FakeCloudflare {
  readonly calls: Call[] = [];
  readonly databases = new Map<string, string>();
  readonly namespaces = new Map<string, string>();
  readonly entries = new Map<string, string>();
  readonly buckets = new Map<string, Set<string>>();
  readonly scripts = new Map<string, DeployedScript>();
  readonly faults: Fault[] = [];
  baseUrl = '';

  private readonly sqlite = new Miniflare({
    modules: true,
    script: SQL_WORKER,
    d1Databases: { DB: 'multiagent' },
    host: '127.0.0.1',
    port: 0,
  });
  private readonly server = createServer((request, response) => void this.serve(request, response));

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    const { port } = this.server.address() as AddressInfo;
    this.baseUrl = `http://127.0.0.1:${port}/client/v4`;
    return this;
  }

  async stop(): Promise<void> {
    await new Promise((resolve) => this.server.close(resolve));
    await this.sqlite.dispose();
  }

  /** Calls that change something, as `METHOD path`; queries by their first words. */
  changes(): string[] {
    return this.calls.flatMap(({ method, path, body }) => {
      if (method === 'GET') {
        return [];
      }
      const sql = isObject(body) && typeof body.sql === 'string' ? body.sql : null;
      if (sql === null) {
        return [`${method} ${path}`];
      }
      return /^\s*SELECT/i.test(sql)
        ? []
        : [
            `QUERY ${sql
              .trim()
              .split(/[\s(]+/)
              .slice(0, 3)
              .join(' ')}`,
          ];
    });
  }

  private async execute(statements: string[], params: unknown[]): Promise<SqlAnswer> {
    const response = await this.sqlite.dispatchFetch('http://sql', {
      method: 'POST',
      body: JSON.stringify({ statements, params }),
    });
    return (await response.json()) as SqlAnswer;
  }

  async sql(text: string, ...params: unknown[]): Promise<Record<string, unknown>[]> {
    const { results, error } = await this.execute([text], params);
    if (results === undefined) {
      throw new Error(error);
    }
    return results[0]?.results ?? [];
  }

  /** What wrangler does in the end. */
  upload(name: string, { message, config }: Pick<DeployedScript, 'message' | 'config'>): void {
    const { secrets = new Map<string, string>(), uploads = 0 } = this.scripts.get(name) ?? {};
    this.scripts.set(name, { message, secrets, config, uploads: uploads + 1 });
  }

  /** Everything is gone: databases, buckets, Workers, and what was asked. */
  async reset(): Promise<void> {
    const tables = await this.sql(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite%' ORDER BY rowid DESC",
    );
    if (tables.length > 0) {
      // Latest first: a table may only go after those that refer to it.
      await this.execute(
        tables.map(({ name }) => `DROP TABLE ${name}`),
        [],
      );
    }
    for (const things of [
      this.databases,
      this.namespaces,
      this.entries,
      this.buckets,
      this.scripts,
    ]) {
      things.clear();
    }
    this.calls.length = 0;
    this.faults.length = 0;
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) {
      chunks.push(chunk as Buffer);
    }
    const text = Buffer.concat(chunks).toString('utf8');
    const method = request.method ?? '';
    const url = new URL(request.url ?? '/', 'http://fake');
    const path = url.pathname.replace(`/client/v4/accounts/${ACCOUNT_ID}`, '') + url.search;
    const body: unknown = text === '' ? null : JSON.parse(text);
    const isOwn = url.pathname.startsWith('/client/v4/accounts/');
    let answer: Answer;
    let headers: Record<string, string> = {};
    if (request.headers.authorization !== `Bearer ${API_TOKEN}`) {
      answer = refused(401, 10000, 'Authentication error');
    } else if (!isOwn || path.startsWith('/client/v4')) {
      answer = refused(404, 7003, 'Could not route to this account');
    } else if (body !== null && request.headers['content-type'] !== 'application/json') {
      answer = refused(415, 10001, 'Content-Type must be application/json');
    } else {
      this.calls.push({ method, path, body });
      const fault = this.faults.find(
        (one) =>
          one.times > 0 &&
          one.method === method &&
          one.path.test(path) &&
          (one.body?.test(text) ?? true),
      );
      if (fault === undefined) {
        answer = await this.answer(method, url, path, body);
      } else {
        fault.times -= 1;
        if (fault.afterwards === true) {
          await this.answer(method, url, path, body);
        }
        headers = fault.headers ?? {};
        answer = refused(fault.status, fault.code ?? 1, fault.message ?? 'a planned fault');
      }
    }
    response.writeHead(answer.status, { 'Content-Type': 'application/json', ...headers });
    response.end(JSON.stringify(answer.body));
  }

  private async answer(method: string, url: URL, path: string, body: unknown): Promise<Answer> {
    const route = `${method} ${path.replace(/\?.*/, '')}`;
    const fields = isObject(body) ? body : {};
    const last = decodeURIComponent(path.replace(/\?.*/, '').split('/').at(-1) ?? '');
    if (route === 'GET /workers/subdomain') {
      return ok({ subdomain: 'example' });
    }
    if (route === 'GET /d1/database') {
      const wanted = url.searchParams.get('name') ?? '';
      return ok(
        [...this.databases]
          .filter(([name]) => name.includes(wanted))
          .map(([name, uuid]) => ({ name, uuid })),
      );
    }
    if (route === 'POST /d1/database') {
      if (typeof fields.name !== 'string' || this.databases.has(fields.name)) {
        return refused(400, 7502, 'A database with that name already exists');
      }
      this.databases.set(fields.name, randomUUID());
      return ok({ name: fields.name, uuid: this.databases.get(fields.name) });
    }
    if (/^POST \/d1\/database\/[\w-]+\/query$/.test(route)) {
      const id = path.split('/')[3] ?? '';
      return [...this.databases.values()].includes(id)
        ? await this.query(fields)
        : refused(404, 7404, 'The database could not be found');
    }
    if (path.startsWith('/storage/kv/namespaces')) {
      return this.namespaceCall(route, fields, last);
    }
    if (path.startsWith('/r2/buckets')) {
      return this.bucketCall(route, fields, url);
    }
    return this.scriptCall(route, fields, url);
  }

  private async query({ sql, params = [] }: Record<string, unknown>): Promise<Answer> {
    if (typeof sql !== 'string' || !Array.isArray(params)) {
      return refused(400, 7400, 'The request is malformed');
    }
    const { results, error } = await this.execute(unstable_splitSqlQuery(sql), params);
    return results === undefined
      ? refused(400, 7500, error ?? 'query failed')
      : ok(results.map(({ results: rows, meta }) => ({ results: rows, success: true, meta })));
  }

  private namespaceCall(route: string, fields: Record<string, unknown>, last: string): Answer {
    if (route === 'GET /storage/kv/namespaces') {
      return ok([...this.namespaces].map(([title, id]) => ({ title, id })));
    }
    if (route === 'POST /storage/kv/namespaces' && typeof fields.title === 'string') {
      const id = randomUUID().replaceAll('-', '');
      this.namespaces.set(fields.title, id);
      return ok({ id, title: fields.title });
    }
    if (/^DELETE .*\/values\//.test(route)) {
      return this.entries.delete(last) ? ok({}) : refused(404, 10009, 'key not found');
    }
    return refused(405, 10001, 'no such route');
  }

  private bucketCall(route: string, fields: Record<string, unknown>, url: URL): Answer {
    if (route === 'POST /r2/buckets') {
      if (typeof fields.name !== 'string' || this.buckets.has(fields.name)) {
        return refused(
          409,
          10004,
          'The bucket you tried to create already exists, and you own it.',
        );
      }
      this.buckets.set(fields.name, new Set());
      return ok({ name: fields.name });
    }
    const name = route.split('/')[3] ?? '';
    const objects = this.buckets.get(name);
    if (objects === undefined) {
      return refused(404, 10006, 'The specified bucket does not exist.');
    }
    if (/^GET .*\/objects$/.test(route)) {
      const count = Number(url.searchParams.get('per_page'));
      return ok([...objects].slice(0, count).map((key) => ({ key })));
    }
    const key = /^DELETE .*?\/objects\/(.+)$/.exec(route)?.[1];
    if (key !== undefined) {
      objects.delete(decodeURIComponent(key));
      return ok({ key });
    }
    if (route === `GET /r2/buckets/${name}`) {
      return ok({ name });
    }
    if (route === `DELETE /r2/buckets/${name}`) {
      if (objects.size > 0) {
        return refused(409, 10008, 'The bucket you tried to delete is not empty');
      }
      this.buckets.delete(name);
      return ok({});
    }
    return refused(405, 10001, 'no such route');
  }

  private scriptCall(route: string, fields: Record<string, unknown>, url: URL): Answer {
    if (route === 'GET /workers/scripts') {
      return ok([...this.scripts.keys()].map((id) => ({ id })));
    }
    const name = route.split('/')[3] ?? '';
    // How the fake wrangler uploads; the real one sends a form.
    if (route === `PUT /workers/scripts/${name}` && isObject(fields.config)) {
      const { message, config } = fields;
      this.upload(name, { message: typeof message === 'string' ? message : null, config });
      return ok({ id: name });
    }
    const script = this.scripts.get(name);
    if (script === undefined) {
      return refused(404, 10007, 'This Worker does not exist on your account.');
    }
    if (route === `GET /workers/scripts/${name}/deployments`) {
      // As Cloudflare does it: a first upload leaves its message with the version, later ones with the deployment as well.
      const annotations = script.uploads > 1 ? annotationsOf(script) : {};
      return ok({
        deployments: [{ id: 'newest', annotations, versions: [{ version_id: VERSION_ID }] }],
      });
    }
    if (route === `GET /workers/scripts/${name}/versions/${VERSION_ID}`) {
      return ok({ id: VERSION_ID, annotations: annotationsOf(script) });
    }
    if (route === `GET /workers/scripts/${name}/secrets`) {
      return ok(
        [...script.secrets.keys()].map((secret) => ({ name: secret, type: 'secret_text' })),
      );
    }
    if (route === `PUT /workers/scripts/${name}/secrets`) {
      if (fields.type !== 'secret_text' || typeof fields.text !== 'string') {
        return refused(400, 10001, 'a secret has a text and a type');
      }
      script.secrets.set(String(fields.name), fields.text);
      return ok({ name: fields.name });
    }
    if (route === `DELETE /workers/scripts/${name}` && url.searchParams.get('force') === 'true') {
      this.scripts.delete(name);
      return ok(null);
    }
    return refused(405, 10001, 'no such route');
  }
}
