// The control worker: passes orders on to the Workers under test and to the simulators of their storage.
export default {
  async fetch(request, env) {
    const { worker, object, name, operation, body } = await request.json();
    try {
      if (worker !== undefined) {
        return await env[`worker ${worker}`].fetch('http://driver/', { method: 'POST', body: JSON.stringify(body) });
      }
      const objects = env[object];
      const control = operation === undefined ? undefined : { name: operation, args: body };
      return await objects.get(objects.idFromName(name)).fetch('http://driver/', { cf: { miniflare: { name, controlOp: control } } });
    } catch (error) {
      return new Response(String(error?.stack ?? error), { status: 500 });
    }
  },
};
