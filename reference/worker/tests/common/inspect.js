// What buckets and KV hold, past every rule of the Workers that wrote it: GET tells, DELETE empties.
const buckets = (env) => ['images', 'other-images'].map((name) => [name, env[name]]);

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

const hexadecimal = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');

const stored = async (name, bucket) => {
  const objects = await everything(bucket, { include: ['httpMetadata', 'customMetadata'] });
  objects.sort((one, other) => one.uploaded - other.uploaded);
  return Promise.all(
    objects.map(async ({ key, size, httpMetadata, customMetadata }) => {
      const bytes = await (await bucket.get(key)).arrayBuffer();
      const digest = hexadecimal(await crypto.subtle.digest('SHA-256', bytes));
      return { bucket: name, path: key, size, content_type: httpMetadata.contentType, metadata: customMetadata, digest };
    }),
  );
};

export default {
  async fetch(request, env) {
    if (request.method === 'DELETE') {
      for (const [, bucket] of buckets(env)) {
        for (const { key } of await everything(bucket, {})) {
          await bucket.delete(key);
        }
      }
      return new Response(null, { status: 204 });
    }
    const objects = (await Promise.all(buckets(env).map(([name, bucket]) => stored(name, bucket)))).flat();
    const names = (await everything(env.cache, {})).map(({ name }) => name).sort();
    return Response.json({ objects, names });
  },
};
