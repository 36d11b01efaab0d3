// Which Workers a local system runs: those that all share once, the others once for each instance.
import { CommandError } from '../deployment/context';
import {
  type Deployable,
  instanceDeployables,
  sharedDeployables,
  type Worker,
} from '../deployment/workers';
import { type Bundle, bundleWorker } from './bundle';
import type { LocalInstance } from './data';
import type { LocalWorker } from './runtime';

const CONFIG_SERVICE = 'config-service';

export interface WorkerPlan {
  configService: LocalWorker;
  /** By instance. */
  own: Map<string, LocalWorker[]>;
  all: LocalWorker[];
}

export async function bundleAll(
  workers: readonly Worker[],
  projectRoot: string,
): Promise<Map<Worker, Bundle>> {
  return new Map(
    await Promise.all(
      workers.map(async (worker) => [worker, await bundleWorker(worker, projectRoot)] as const),
    ),
  );
}

/** The Workers to run, each with its port: the Config Service first, then those of the instances, then the rest. */
export function planWorkers(
  workers: readonly Worker[],
  bundles: ReadonlyMap<Worker, Bundle>,
  instances: readonly LocalInstance[],
  firstPort: number | undefined,
): WorkerPlan {
  // 0 lets the runtime take one that is free.
  let next = firstPort ?? 0;
  const place = (deployable: Deployable, bucket: string | null): LocalWorker => {
    const port = next;
    next = next === 0 ? 0 : next + 1;
    const bundle = bundles.get(deployable.worker);
    if (bundle === undefined) {
      throw new Error(`${deployable.name} was not bundled`);
    }
    return { deployable, bundle, bucket, port };
  };
  const shared = sharedDeployables(workers);
  const first = shared.find(({ worker }) => worker.type === CONFIG_SERVICE);
  if (first === undefined) {
    throw new CommandError('there is no Worker config-service under infrastructure/');
  }
  const configService = place(first, null);
  const own = new Map<string, LocalWorker[]>();
  for (const { instanceId, bucket } of instances) {
    const placed: LocalWorker[] = [];
    for (const deployable of instanceDeployables(workers, instanceId)) {
      placed.push(place(deployable, bucket));
    }
    own.set(instanceId, placed);
  }
  // Nobody calls these by address, so they take whatever port is free.
  next = 0;
  const rest: LocalWorker[] = [];
  for (const deployable of shared.filter((one) => one !== first)) {
    rest.push(place(deployable, null));
  }
  return { configService, own, all: [configService, ...[...own.values()].flat(), ...rest] };
}
