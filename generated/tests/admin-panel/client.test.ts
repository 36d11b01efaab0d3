// The typed client against the real Config Service on a real database: both have the same contract in mind.
import { beforeEach, describe, expect, it } from 'vitest';
import { ApiClient } from '@/interfaces/admin-panel/src/api/client';
import { ApiFailure } from '@/interfaces/admin-panel/src/api/failure';
import { changeOf, draftOf } from '@/interfaces/admin-panel/src/forms/instance-draft';
import { IDS, startService, type TestService } from '@/tests/config-service/support';

let service: TestService;
const clientWith = (key: string) =>
  new ApiClient({
    baseUrl: 'https://config.example.com',
    key,
    fetch: (input, init) => service.send(new Request(input, init)),
  });
let client: ApiClient;

beforeEach(async () => {
  service = await startService();
  client = clientWith(service.keyOf('superadmin'));
});

describe('the client and the Config Service', () => {
  it('agree on who is asking', async () => {
    expect(await client.me()).toMatchObject({ user_id: IDS.adminId, role: 'superadmin' });
    const nobody = clientWith('mas_wrong');
    await expect(nobody.me()).rejects.toMatchObject({ status: 401, code: 'AUTH_FAILED' });
  });

  it('agree on instances: made, edited without touching a masked key, deleted', async () => {
    const made = await client.createInstance({
      instance_id: 'staging',
      org_id: 'example-org',
      name: 'Staging',
      config: { api_keys: { ideogram: 'ideogram-secret-0123456789' } },
    });
    expect(made.api_keys).toEqual({ ideogram: '****6789' });

    const draft = { ...draftOf(made), name: 'Staging EU', bucket: 'staging-images' };
    const change = changeOf(made, draft);
    expect(change).toEqual({ name: 'Staging EU', config: { r2_bucket: 'staging-images' } });
    const edited = await client.changeInstance('staging', change ?? {});
    expect(edited).toMatchObject({ name: 'Staging EU', api_keys: { ideogram: '****6789' } });

    await client.deleteInstance('staging');
    await expect(client.instance('staging')).rejects.toBeInstanceOf(ApiFailure);
    const ids = (await client.all((query) => client.instances(query))).map(
      ({ instance_id }) => instance_id,
    );
    expect(ids).toEqual(['production', 'development', 'acme-main']);
  });

  it('agree on users, access and keys', async () => {
    const user = await client.createUser({
      email: 'new@example.com',
      org_id: 'example-org',
      role: 'user',
    });
    await client.giveAccess('production', user.user_id);
    expect((await client.user(user.user_id)).instances).toEqual(['production']);
    expect((await client.accessList('production')).items).toMatchObject([
      { user_id: user.user_id },
    ]);

    const { key, key_id } = await client.createUserKey(user.user_id, { name: 'Laptop' });
    expect(await clientWith(key).me()).toMatchObject({ user_id: user.user_id });
    expect((await client.userKeys(user.user_id)).items[0]).not.toHaveProperty('key');
    await client.revokeKey(key_id);
    await expect(clientWith(key).me()).rejects.toMatchObject({ status: 401 });

    await client.withdrawAccess('production', user.user_id);
    await client.changeUser(user.user_id, { role: 'admin' });
    expect(await client.user(user.user_id)).toMatchObject({ role: 'admin', instances: [] });
    await client.deleteUser(user.user_id);
    expect((await client.users({ org_id: 'example-org' })).items).not.toContainEqual(
      expect.objectContaining({ user_id: user.user_id }),
    );
  });

  it('agree on organisations, projects and pages', async () => {
    expect((await client.organizations()).items).toHaveLength(2);
    expect((await client.projects({ instance_id: 'production' })).items).toMatchObject([
      { project_id: 'content-forge', name: 'Content Forge' },
    ]);
    const first = await client.instances({ limit: 1 });
    const second = await client.instances({ limit: 1, cursor: first.next_cursor ?? '' });
    expect(second.items[0]?.instance_id).toBe('development');
  });
});
