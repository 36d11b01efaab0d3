// What buckets and KV hold, past every rule of the Workers that wrote it: GET tells, PUT writes entries of KV.
const everything = async (store, options) => {
  const found = [];
  let cursor;
  do {
    const page = await store.list({ ...options, cursor });
    found.push(...(page.objects ?? page.keys));
    cursor = page.truncated || page.list_complete === false ? page.cursor : undefined;
  } while (cursor !== undefined);
  return found;
};

const bound = (env, kind) =>
  Object.entries(env)
    .filter(([name]) => name.startsWith(`${kind} `))
    .map(([name, store]) => [name.slice(kind.length + 1), store]);

const hexadecimal = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');

const objects = async ([name, bucket]) =>
  Promise.all(
    (await everything(bucket, { include: ['httpMetadata', 'customMetadata'] })).map(async ({ key, size, httpMetadata, customMetadata }) => {
      const bytes = await (await bucket.get(key)).arrayBuffer();
      const digest = hexadecimal(await crypto.subtle.digest('SHA-256', bytes));
      return { bucket: name, path: key, size, content_type: httpMetadata.contentType, metadata: customMetadata, digest };
    }),
  );

const entries = async ([name, store]) =>
  Promise.all((await everything(store, {})).map(async (entry) => ({ store: name, name: entry.name, value: await store.get(entry.name) })));

export default {
  async fetch(request, env) {
    if (request.method === 'PUT') {
      for (const { store, name, value } of await request.json()) {
        await env[`kv ${store}`].put(name, value);
      }
    }
    return Response.json({
      objects: (await Promise.all(bound(env, 'r2').map(objects))).flat(),
      entries: (await Promise.all(bound(env, 'kv').map(entries))).flat(),
    });
  },
};
