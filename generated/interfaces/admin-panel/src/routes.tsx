// The pages and their addresses.
import { Navigate, type RouteObject, useRouteError } from 'react-router';
import { asFailure } from './api/failure';
import { LinkButton } from './components/elements';
import { PageTitle, Shell } from './components/shell';
import { Empty, Failure } from './components/states';
import { InstancePage } from './pages/instances/instance-page';
import { InstancesPage } from './pages/instances/instances-page';
import { NewInstancePage } from './pages/instances/new-instance-page';
import { LogsPage } from './pages/logs/logs-page';
import { NewUserPage } from './pages/users/new-user-page';
import { UserPage } from './pages/users/user-page';
import { UsersPage } from './pages/users/users-page';

function NotFoundPage() {
  return (
    <>
      <PageTitle title="No such page" />
      <Empty
        icon="search"
        title="There is nothing at this address"
        action={<LinkButton to="/instances">To the instances</LinkButton>}
      />
    </>
  );
}

/** A fault of the panel itself: said, instead of an empty screen. */
function BrokenPage() {
  const error = useRouteError();
  return (
    <main className="mx-auto max-w-lg p-8">
      <h1 className="mb-4 text-2xl font-semibold">This page broke</h1>
      <Failure failure={asFailure(error)} onRetry={() => window.location.reload()} />
    </main>
  );
}

export const ROUTES: RouteObject[] = [
  {
    element: <Shell />,
    errorElement: <BrokenPage />,
    children: [
      { path: '/', element: <Navigate to="/instances" replace /> },
      { path: '/instances', element: <InstancesPage /> },
      { path: '/instances/new', element: <NewInstancePage /> },
      // Behind a segment of its own: `new` is a valid id.
      { path: '/instances/id/:instanceId', element: <InstancePage /> },
      { path: '/users', element: <UsersPage /> },
      { path: '/users/new', element: <NewUserPage /> },
      { path: '/users/id/:userId', element: <UserPage /> },
      { path: '/logs', element: <LogsPage /> },
      { path: '*', element: <NotFoundPage /> },
    ],
  },
];
