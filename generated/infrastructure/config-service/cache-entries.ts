// The names of cache entries, shared by the lookup, which writes them, and this service, which removes them on a change.

export function instanceConfigCacheKey(instanceId: string): string {
  return `instance-config:v1:${instanceId}`;
}

/**
 * Removes the cached configurations of these instances. A failure is reported and not thrown: the change itself is
 * stored by now, and a copy that stays is outdated for five minutes at most.
 */
export async function invalidateInstanceConfigs(
  cache: KVNamespace,
  instanceIds: readonly string[],
  report: (error: unknown) => void,
): Promise<void> {
  const outcomes = await Promise.allSettled(
    instanceIds.map((instanceId) => cache.delete(instanceConfigCacheKey(instanceId))),
  );
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') {
      report(outcome.reason);
    }
  }
}
