// Where instances are deployed to: an account at Cloudflare or this machine. The steps are the same for both.
import type { Deployable } from './workers';

export interface Deployment {
  /** The message that it was deployed with; null if it has none. */
  message: string | null;
}

export interface Target {
  /** For messages. */
  description: string;
  /** The database of this name, or null if there is none yet. */
  database: (name: string) => Promise<D1Database | null>;
  createDatabase: (name: string) => Promise<D1Database>;
  /** Runs a text of several statements as one transaction. */
  runScript: (databaseName: string, sql: string) => Promise<void>;
  hasNamespace: (name: string) => Promise<boolean>;
  createNamespace: (name: string) => Promise<void>;
  /** Removes an entry; one that is not there is no fault. */
  deleteEntry: (namespaceName: string, entry: string) => Promise<void>;
  hasBucket: (name: string) => Promise<boolean>;
  createBucket: (name: string) => Promise<void>;
  isBucketEmpty: (name: string) => Promise<boolean>;
  /** How many objects were deleted. */
  emptyBucket: (name: string) => Promise<number>;
  deleteBucket: (name: string) => Promise<void>;
  /** The names of all Workers there. */
  workerNames: () => Promise<Set<string>>;
  /** What is deployed under this name, or null. */
  deployment: (name: string) => Promise<Deployment | null>;
  /** The configuration with which the Worker would be deployed. */
  configFor: (deployable: Deployable, bucket: string | null) => Record<string, unknown>;
  deploy: (
    deployable: Deployable,
    config: Record<string, unknown>,
    message: string,
  ) => Promise<void>;
  deleteWorker: (name: string) => Promise<void>;
  /** The names of the Worker's secrets. */
  secretNames: (name: string) => Promise<Set<string>>;
  putSecret: (workerName: string, secret: string, value: string) => Promise<void>;
  urlOf: (deployable: Deployable) => Promise<string>;
  /** Ends what was started for the work. */
  close: () => Promise<void>;
}
