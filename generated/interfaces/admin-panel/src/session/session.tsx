// Who is logged in: the key lives in session storage of this tab, goes only into the client, and is gone after logging out.
import {
  createContext,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useState,
} from 'react';
import { ApiClient, type Fetch } from '../api/client';
import { type ApiFailure, asFailure } from '../api/failure';
import type { Me } from '../api/types';
import type { Configuration } from '../configuration';
import { LoginForm, LoginPage, RestoreFailedPage, RestoringPage } from './login';
import { ReLoginDialog } from './re-login-dialog';

const STORAGE_NAME = 'admin-panel.key';

/** A superadmin or an admin: the only ones that get in. */
export type Administrator = Me & { user_id: string; email: string };

interface Session {
  client: ApiClient;
  me: Administrator;
  isSuperadmin: boolean;
  logOut: () => void;
}

interface LoggedIn {
  key: string;
  me: Administrator;
}

type State =
  | { status: 'restoring' }
  | { status: 'restore-failed'; failure: ApiFailure }
  | { status: 'anonymous'; notice: string | null }
  | ({ status: 'active'; isExpired: boolean } & LoggedIn);

/** Said to those whose key is good, but who administer nothing. */
export class NotAdministrator extends Error {
  override readonly name = 'NotAdministrator';

  constructor() {
    super('This key does not belong to an administrator. Ask one for access.');
  }
}

const SessionContext = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (session === null) {
    throw new Error('useSession needs a SessionProvider around it');
  }
  return session;
}

function administratorOf(me: Me): Administrator {
  const { user_id, email, role } = me;
  if (user_id === null || email === null || (role !== 'admin' && role !== 'superadmin')) {
    throw new NotAdministrator();
  }
  return { ...me, user_id, email };
}

export function SessionProvider({
  configuration,
  fetch,
  children,
}: {
  configuration: Configuration;
  fetch?: Fetch | undefined;
  children: ReactNode;
}) {
  const [state, setState] = useState<State>(() =>
    sessionStorage.getItem(STORAGE_NAME) === null
      ? { status: 'anonymous', notice: null }
      : { status: 'restoring' },
  );

  const clientFor = useCallback(
    (key: string, onUnauthorized?: () => void) =>
      new ApiClient({
        baseUrl: configuration.configServiceUrl,
        key,
        ...(fetch === undefined ? {} : { fetch }),
        ...(onUnauthorized === undefined ? {} : { onUnauthorized }),
      }),
    [configuration, fetch],
  );

  const logOut = useCallback((notice: string | null = null) => {
    sessionStorage.removeItem(STORAGE_NAME);
    setState({ status: 'anonymous', notice });
  }, []);

  const logIn = useCallback(
    async (key: string) => {
      const me = administratorOf(await clientFor(key).me());
      sessionStorage.setItem(STORAGE_NAME, key);
      setState({ status: 'active', isExpired: false, key, me });
    },
    [clientFor],
  );

  const isRestoring = state.status === 'restoring';
  useEffect(() => {
    const key = sessionStorage.getItem(STORAGE_NAME);
    if (!isRestoring || key === null) {
      return;
    }
    let isCurrent = true;
    clientFor(key)
      .me()
      .then(administratorOf)
      .then(
        (me) => isCurrent && setState({ status: 'active', isExpired: false, key, me }),
        (error: unknown) => {
          const failure = asFailure(error);
          if (!isCurrent) {
            return;
          }
          if (error instanceof NotAdministrator || failure.kind === 'refused') {
            logOut('Your session has ended. Log in again.');
          } else {
            setState({ status: 'restore-failed', failure });
          }
        },
      );
    return () => {
      isCurrent = false;
    };
  }, [isRestoring, clientFor, logOut]);

  const key = state.status === 'active' ? state.key : null;
  const me = state.status === 'active' ? state.me : null;
  const session = useMemo<Session | null>(() => {
    if (key === null || me === null) {
      return null;
    }
    const expire = () =>
      setState((current) =>
        // An answer to an earlier key says nothing about the present one.
        current.status === 'active' && current.key === key
          ? { ...current, isExpired: true }
          : current,
      );
    return {
      client: clientFor(key, expire),
      me,
      isSuperadmin: me.role === 'superadmin',
      logOut: () => logOut(),
    };
  }, [key, me, clientFor, logOut]);

  if (session !== null) {
    return (
      // Another person gets pages of their own; the same person goes on where they were.
      <SessionContext key={session.me.user_id} value={session}>
        {children}
        {state.status === 'active' && state.isExpired && (
          <ReLoginDialog onLogOut={session.logOut}>
            <LoginForm onLogIn={logIn} />
          </ReLoginDialog>
        )}
      </SessionContext>
    );
  }
  if (state.status === 'restore-failed') {
    return (
      <RestoreFailedPage
        failure={state.failure}
        onRetry={() => setState({ status: 'restoring' })}
        onLogOut={() => logOut()}
      />
    );
  }
  if (state.status === 'anonymous') {
    return (
      <LoginPage notice={state.notice}>
        <LoginForm onLogIn={logIn} />
      </LoginPage>
    );
  }
  return <RestoringPage />;
}
