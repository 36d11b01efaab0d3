// Which refusal is answered when several apply, and what is not looked at where no body is taken.
import { beforeEach, describe, expect, test } from 'vitest';
import { type Caller, IDS, startService, type TestService } from './support';

let service: TestService;

beforeEach(async () => {
  service = await startService();
});

const TOO_LARGE = ' '.repeat(65_537);

async function statusOf(
  caller: Caller,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<number> {
  const options = body === undefined ? { headers } : { body, headers };
  return (await service.call(caller, method, path, options)).status;
}

describe('of several refusals the first of this order is answered', () => {
  test('path, method, credential, role', async () => {
    expect(await statusOf('nobody', 'PUT', '/none')).toBe(404);
    expect(await statusOf('nobody', 'PUT', '/instance/none')).toBe(405);
    expect(await statusOf('nobody', 'PATCH', '/instance/none', '[')).toBe(401);
    expect(await statusOf('user', 'PATCH', '/instance/none', '[')).toBe(403);
    expect(await statusOf('project', 'GET', '/user?limit=0')).toBe(403);
    expect(await statusOf('service', 'GET', '/me')).toBe(403);
  });

  test('the resource of the path, then size and form of the body', async () => {
    expect(await statusOf('admin', 'PATCH', '/instance/none', TOO_LARGE)).toBe(404);
    expect(await statusOf('admin', 'PATCH', '/instance/acme-main', TOO_LARGE)).toBe(403);
    const text = { 'Content-Type': 'text/plain' };
    expect(await statusOf('admin', 'PATCH', '/instance/production', TOO_LARGE, text)).toBe(413);
    expect(await statusOf('admin', 'PATCH', '/instance/production', '{}', text)).toBe(400);
    expect(await statusOf('admin', 'GET', '/instance/none/access?limit=0')).toBe(404);
    expect(await statusOf('admin', 'GET', '/instance/acme-main/access?limit=0')).toBe(403);
    expect(await statusOf('admin', 'POST', '/user/none/key', '[')).toBe(404);
    expect(await statusOf('admin', 'POST', `/user/${IDS.otherAdminId}/key`, '[')).toBe(403);
  });

  test('of two resources of the path the first', async () => {
    expect(await statusOf('admin', 'PUT', '/instance/acme-main/access/none')).toBe(403);
    expect(await statusOf('admin', 'PUT', '/instance/none/access/none')).toBe(404);
    expect(await statusOf('admin', 'DELETE', '/instance/acme-main/access/none')).toBe(403);
    expect(await statusOf('admin', 'PUT', '/instance/production/access/none')).toBe(404);
  });

  test('the body before what it names, also where its maps are too large or a key is a mask', async () => {
    const limits = Object.fromEntries(
      Array.from({ length: 51 }, (_, index) => [`p${index}`, { rpm: 1 }]),
    );
    for (const config of [
      { api_keys: { ideogram: '****wxyz' } },
      { rate_limits: limits },
      { r2_bucket: '' },
    ]) {
      for (const org_id of ['none', IDS.otherOrgId]) {
        const body = { org_id, name: 'N', config };
        expect(await statusOf('admin', 'POST', '/instance', body)).toBe(400);
      }
    }
    const project = { instance_id: 'none', name: 'P', settings: 5 };
    expect(await statusOf('admin', 'POST', '/project', project)).toBe(400);
    expect(await statusOf('admin', 'GET', '/user?limit=0&org_id=none')).toBe(400);
    expect(await statusOf('admin', 'GET', '/instance?limit=0&org_id=none')).toBe(400);
    expect(await statusOf('admin', 'GET', '/project?limit=0&instance_id=none')).toBe(400);
    expect(await statusOf('admin', 'GET', '/metrics?range=x&instance_id=none')).toBe(400);
  });

  test('the body, a role in it, the organisation that it names, its state', async () => {
    const create = (body: object) => statusOf('admin', 'POST', '/user', body);
    const taken = 'admin@example.com';
    expect(await create({ email: 'no', role: 'superadmin', org_id: 'none' })).toBe(400);
    expect(await create({ email: taken, role: 'superadmin', org_id: 'none' })).toBe(403);
    expect(await create({ email: taken, role: 'user', org_id: 'none' })).toBe(404);
    expect(await create({ email: taken, role: 'user', org_id: IDS.otherOrgId })).toBe(403);
    expect(await create({ email: taken, role: 'user', org_id: IDS.orgId })).toBe(409);
    const change = { email: taken, role: 'user' };
    expect(await statusOf('admin', 'PATCH', `/user/${IDS.orgAdminId}`, change)).toBe(403);
    const body = { instance_id: 'production', org_id: IDS.otherOrgId, name: 'P' };
    expect(await statusOf('admin', 'POST', '/instance', body)).toBe(403);
  });
});

describe('an identifier that does not match the grammar', () => {
  test.each(['Production', '-x', 'a%20b', 'x'.repeat(64), "x'y", 'a.b'])(
    '%s in a path names nothing',
    async (id) => {
      for (const [method, path] of [
        ['GET', `/organization/${id}`],
        ['PATCH', `/instance/${id}`],
        ['GET', `/instance/${id}/access`],
        ['PUT', `/instance/production/access/${id}`],
        ['DELETE', `/instance/production/access/${id}`],
        ['GET', `/user/${id}`],
        ['GET', `/user/${id}/key`],
        ['DELETE', `/project/${id}`],
        ['POST', `/project/${id}/key`],
        ['DELETE', `/key/${id}`],
      ] as const) {
        expect(await statusOf('admin', method, path), `${method} ${path}`).toBe(404);
      }
    },
  );

  test('is looked for in its turn: after method, credential and role', async () => {
    expect(await statusOf('nobody', 'POST', '/instance/Bad')).toBe(405);
    expect(await statusOf('nobody', 'GET', '/instance/Bad')).toBe(401);
    expect(await statusOf('user', 'PATCH', '/instance/Bad', {})).toBe(403);
    expect(await statusOf('admin', 'PUT', '/instance/acme-main/access/Bad')).toBe(403);
    expect(await statusOf('admin', 'PUT', '/instance/Bad/access/none')).toBe(404);
  });

  test('is 404 in a query and 400 in a body', async () => {
    expect(await statusOf('admin', 'GET', '/instance?org_id=Bad')).toBe(404);
    expect(await statusOf('admin', 'GET', '/project?instance_id=Bad')).toBe(404);
    expect(await statusOf('admin', 'GET', '/logs?instance_id=Bad')).toBe(404);
    expect(await statusOf('admin', 'GET', '/metrics?instance_id=Bad')).toBe(404);
    expect(await statusOf('admin', 'POST', '/instance', { org_id: 'Bad', name: 'N' })).toBe(400);
    expect(await statusOf('admin', 'POST', '/project', { instance_id: 'Bad', name: 'N' })).toBe(
      400,
    );
    expect(await statusOf('admin', 'POST', '/user', { org_id: 'Bad', email: 'a@b.c' })).toBe(400);
  });
});

describe('bodies that nobody asked for', () => {
  test.each(['[', TOO_LARGE, '{"a":1}'])('are ignored (%#)', async (body) => {
    const grant = `/instance/production/access/${IDS.developerId}`;
    expect(await statusOf('admin', 'PUT', grant, body)).toBe(200);
    expect(await statusOf('admin', 'DELETE', grant, body)).toBe(200);
    expect(await statusOf('admin', 'DELETE', '/project/playground', body)).toBe(200);
    const text = { 'Content-Type': 'text/plain' };
    expect(await statusOf('admin', 'DELETE', '/instance/development', body, text)).toBe(200);
  });

  test('a key needs none, and looks at the type of one that is there', async () => {
    const path = '/project/playground/key';
    const text = { 'Content-Type': 'text/plain' };
    expect(await statusOf('admin', 'POST', path)).toBe(201);
    expect(await statusOf('admin', 'POST', path, undefined, text)).toBe(201);
    expect(await statusOf('admin', 'POST', path, '', text)).toBe(201);
    expect(await statusOf('admin', 'POST', path, '{}', text)).toBe(400);
    expect(await statusOf('admin', 'POST', path, ' ')).toBe(400);
    expect(await statusOf('admin', 'POST', path, TOO_LARGE)).toBe(413);
  });
});

describe('OPTIONS', () => {
  test('that is no preflight is a method like others: no path has it', async () => {
    const headers = { Origin: 'https://admin.example.com' };
    const answer = await service.call('superadmin', 'OPTIONS', '/instance', { headers });
    expect([answer.status, answer.headers.get('Allow')]).toEqual([405, 'GET, HEAD, POST']);
    expect(await statusOf('nobody', 'OPTIONS', '/none')).toBe(404);
  });

  test.each(['/instance', '/none', '/instance/Bad'])(
    'a preflight of %s is 204 with the headers of every answer',
    async (path) => {
      for (const Origin of ['https://admin.example.com', 'https://evil.example.com']) {
        const { status, body, headers } = await service.call('nobody', 'OPTIONS', path, {
          headers: {
            Origin,
            'Access-Control-Request-Method': 'DELETE',
            'X-Request-ID': '1B4E28BA-2FA1-11D2-883F-0016D3CCA427',
          },
        });
        expect([status, body]).toEqual([204, null]);
        expect(headers.get('X-Request-ID')).toBe('1b4e28ba-2fa1-11d2-883f-0016d3cca427');
        expect(headers.get('Cache-Control')).toBe('no-store');
        expect(headers.get('X-Content-Type-Options')).toBe('nosniff');
      }
    },
  );
});
