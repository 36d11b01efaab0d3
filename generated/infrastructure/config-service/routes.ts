// Every route, and which callers it is for. What a caller may do to one particular resource, the handlers decide.
import * as access from './handlers/access-handlers';
import { getHealth, getMe } from './handlers/general-handlers';
import * as instances from './handlers/instance-handlers';
import * as keys from './handlers/key-handlers';
import { getLogs } from './handlers/log-handlers';
import { getMetrics } from './handlers/metric-handlers';
import * as organizations from './handlers/organization-handlers';
import * as projects from './handlers/project-handlers';
import * as users from './handlers/user-handlers';
import type { AuthenticatedContext, RequestContext } from './http/context';
import { ApiError, forbidden } from './http/errors';
import { type Method, type PathParameters, type Route, route } from './http/router';
import { authenticateCredential, bearerCredential } from './security/authenticator';
import { type Actor, actorOf, type Principal } from './security/policy';

/** What the service needs of the runtime to answer one request. */
export interface ServiceContext extends RequestContext {
  defer: (work: Promise<void>) => void;
}

const SUPERADMIN: readonly Actor[] = ['superadmin'];
const ADMINS: readonly Actor[] = ['admin', 'superadmin'];
const USERS: readonly Actor[] = ['user', ...ADMINS];
const KEYS: readonly Actor[] = ['project', ...USERS];
const EVERYBODY: readonly Actor[] = ['service', ...KEYS];

async function authenticate(context: ServiceContext): Promise<Principal> {
  const result = await authenticateCredential(
    bearerCredential(context.request),
    context.env.SERVICE_TOKEN,
    { database: context.env.DB, now: context.now, defer: context.defer, report: context.report },
  );
  if ('failure' in result) {
    // Which of the ways it failed is of no use to an honest caller, except that nothing was sent.
    const message =
      result.failure === 'missing'
        ? 'send an API key as Authorization: Bearer <key>'
        : 'this API key is not valid';
    throw new ApiError('AUTH_FAILED', message, { 'WWW-Authenticate': 'Bearer' });
  }
  return result.principal;
}

function guarded<const Pattern extends string>(
  method: Method,
  pattern: Pattern,
  actors: readonly Actor[],
  handle: (context: AuthenticatedContext, parameters: PathParameters<Pattern>) => Promise<Response>,
): Route<ServiceContext> {
  return route<ServiceContext, Pattern>(method, pattern, async (context, parameters) => {
    const principal = await authenticate(context);
    if (!actors.includes(actorOf(principal))) {
      throw forbidden('your role does not allow this');
    }
    return await handle({ ...context, principal }, parameters);
  });
}

export const ROUTES: readonly Route<ServiceContext>[] = [
  route('GET', '/health', getHealth),
  guarded('GET', '/me', KEYS, getMe),

  guarded('GET', '/organization', ADMINS, organizations.getOrganizations),
  guarded('POST', '/organization', SUPERADMIN, organizations.createOrganization),
  guarded('GET', '/organization/:org_id', ADMINS, organizations.getOrganization),
  guarded('PATCH', '/organization/:org_id', ADMINS, organizations.changeOrganization),
  guarded('DELETE', '/organization/:org_id', SUPERADMIN, organizations.removeOrganization),

  guarded('GET', '/instance', EVERYBODY, instances.getInstances),
  guarded('POST', '/instance', ADMINS, instances.createInstance),
  guarded('GET', '/instance/:instance_id', EVERYBODY, instances.getInstance),
  guarded('PATCH', '/instance/:instance_id', ADMINS, instances.changeInstance),
  guarded('DELETE', '/instance/:instance_id', ADMINS, instances.removeInstance),

  guarded('GET', '/instance/:instance_id/access', ADMINS, access.getAccessList),
  guarded('PUT', '/instance/:instance_id/access/:user_id', ADMINS, access.giveAccess),
  guarded('DELETE', '/instance/:instance_id/access/:user_id', ADMINS, access.takeAccess),

  guarded('GET', '/user', ADMINS, users.getUsers),
  guarded('POST', '/user', ADMINS, users.createUser),
  guarded('GET', '/user/:user_id', USERS, users.getUser),
  guarded('PATCH', '/user/:user_id', ADMINS, users.changeUser),
  guarded('DELETE', '/user/:user_id', ADMINS, users.removeUser),
  guarded('GET', '/user/:user_id/key', USERS, keys.getUserKeys),
  guarded('POST', '/user/:user_id/key', USERS, keys.createUserKey),

  guarded('GET', '/project', EVERYBODY, projects.getProjects),
  guarded('POST', '/project', ADMINS, projects.createProject),
  guarded('GET', '/project/:project_id', EVERYBODY, projects.getProject),
  guarded('PATCH', '/project/:project_id', ADMINS, projects.changeProject),
  guarded('DELETE', '/project/:project_id', ADMINS, projects.removeProject),
  guarded('GET', '/project/:project_id/key', ADMINS, keys.getProjectKeys),
  guarded('POST', '/project/:project_id/key', ADMINS, keys.createProjectKey),

  guarded('GET', '/key/:key_id', USERS, keys.getKey),
  guarded('DELETE', '/key/:key_id', USERS, keys.removeKey),

  guarded('GET', '/logs', ADMINS, getLogs),
  guarded('GET', '/metrics', ADMINS, getMetrics),
];
