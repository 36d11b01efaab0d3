// Matches method and path against a table of routes, and names the path's parameters in the handler's type.
import { ApiError, notFound } from './errors';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

type ParameterNames<Pattern extends string> =
  Pattern extends `${string}:${infer Name}/${infer Rest}`
    ? Name | ParameterNames<Rest>
    : Pattern extends `${string}:${infer Name}`
      ? Name
      : never;

export type PathParameters<Pattern extends string> = Record<ParameterNames<Pattern>, string>;

export interface Route<Context> {
  method: Method;
  segments: readonly string[];
  handle: (context: Context, parameters: Record<string, string>) => Promise<Response>;
}

/** Every identifier of the system has this form; one of another form names nothing. */
export const IDENTIFIER = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** A route whose pattern has parameters as `:name` segments. */
export function route<Context, const Pattern extends string>(
  method: Method,
  pattern: Pattern,
  handle: (context: Context, parameters: PathParameters<Pattern>) => Promise<Response>,
): Route<Context> {
  return {
    method,
    segments: pattern.split('/'),
    // Sound because the parameters were matched against this very pattern.
    handle: (context, parameters) => handle(context, parameters as PathParameters<Pattern>),
  };
}

function matchSegments(
  segments: readonly string[],
  path: readonly string[],
  parameterForm: RegExp,
): Record<string, string> | null {
  if (segments.length !== path.length) {
    return null;
  }
  const parameters: Record<string, string> = {};
  for (const [index, segment] of segments.entries()) {
    const value = path[index] ?? '';
    if (segment.startsWith(':')) {
      if (!parameterForm.test(value)) {
        return null;
      }
      parameters[segment.slice(1)] = value;
    } else if (segment !== value) {
      return null;
    }
  }
  return parameters;
}

export interface Match<Context> {
  route: Route<Context>;
  parameters: Record<string, string>;
}

/**
 * The route for a request; `HEAD` finds that of `GET`. Throws 404 for an unknown path, 405 for an unknown method. With
 * another `parameterForm` than that of identifiers, the handlers are given what cannot exist, and say so in their turn.
 */
export function matchRoute<Context>(
  routes: readonly Route<Context>[],
  method: string,
  pathname: string,
  parameterForm: RegExp = IDENTIFIER,
): Match<Context> {
  const path = pathname.split('/');
  const wanted = method === 'HEAD' ? 'GET' : method;
  const allowed = new Set<string>();
  for (const candidate of routes) {
    const parameters = matchSegments(candidate.segments, path, parameterForm);
    if (parameters === null) {
      continue;
    }
    if (candidate.method === wanted) {
      return { route: candidate, parameters };
    }
    allowed.add(candidate.method);
    if (candidate.method === 'GET') {
      allowed.add('HEAD');
    }
  }
  if (allowed.size === 0) {
    throw notFound('there is nothing at this path');
  }
  const list = [...allowed].toSorted().join(', ');
  throw new ApiError('METHOD_NOT_ALLOWED', `this path allows ${list}`, { Allow: list });
}
