// Every statement that the system runs against its configuration database, behind typed functions. Callers bring ids
// and times, so that each function's effect depends on its arguments alone.
export { type ConstraintKind, violatedConstraint } from './errors';
export type { Page, PagePosition, PageRequest } from './pagination';
export * from './queries/access';
export * from './queries/api-keys';
export * from './queries/instances';
export * from './queries/organizations';
export * from './queries/projects';
export * from './queries/usage';
export * from './queries/users';
export * from './types';
