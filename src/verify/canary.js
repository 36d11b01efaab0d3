// Uses everything that examined Workers rely on, and tells what it saw: whoever compares knows whether the runtime and its simulators work.
import { DurableObject } from 'cloudflare:workers';

export class Bird extends DurableObject {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    const { storage } = this.ctx;
    if (pathname === '/count') {
      const count = await storage.transaction(async (inside) => {
        const next = ((await inside.get('count')) ?? 0) + 1;
        await inside.put('count', next);
        return next;
      });
      await storage.setAlarm(Date.now() + 10_000);
      return Response.json(count);
    }
    return Response.json({ count: await storage.get('count'), rang: (await storage.get('rang')) ?? false });
  }
  async alarm() {
    await this.ctx.storage.put('rang', true);
  }
}

const database = async (env) => {
  await env.DB.prepare('CREATE TABLE IF NOT EXISTS canary (name TEXT PRIMARY KEY NOT NULL, count INTEGER CHECK (count > 0))').run();
  await env.DB.prepare('INSERT INTO canary VALUES (?, ?)').bind('one', 7).run();
  const { count } = await env.DB.prepare('SELECT count FROM canary WHERE name = ?').bind('one').first();
  const refused = await env.DB.prepare('INSERT INTO canary VALUES (?, ?)').bind('two', 0).run().then(
    () => false,
    (error) => /CHECK/.test(String(error)),
  );
  return { count, refused };
};

const bucket = async (env) => {
  await env.IMAGES.put('a/b.png', new Uint8Array([1, 2, 3]), { httpMetadata: { contentType: 'image/png' }, customMetadata: { model: 'x' } });
  const found = await env.IMAGES.get('a/b.png');
  const bytes = [...new Uint8Array(await found.arrayBuffer())];
  return { bytes, type: found.httpMetadata.contentType, model: found.customMetadata.model };
};

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    const bird = env.BIRDS.get(env.BIRDS.idFromName('one'));
    switch (pathname) {
      case '/all': {
        await env.CACHE.put('short', 'value', { expirationTtl: 300 });
        const outside = await fetch('https://api.ideogram.ai/canary').then((answer) => answer.status);
        return Response.json({
          database: await database(env),
          bucket: await bucket(env),
          kept: await env.CACHE.get('short'),
          count: await (await bird.fetch('http://bird/count')).json(),
          other: await (await env.OTHER.fetch('http://other/now')).json(),
          outside,
        });
      }
      case '/later':
        return Response.json({ kept: await env.CACHE.get('short'), now: Date.now(), bird: await (await bird.fetch('http://bird/')).json() });
      case '/now':
        return Response.json(Date.now());
    }
    return new Response('not found', { status: 404 });
  },
};
