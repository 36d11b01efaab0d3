// The frame around every page: navigation, who is logged in, and a title that takes the focus when the page changes.
import { type ReactNode, useEffect, useRef } from 'react';
import { NavLink, Outlet, useLocation } from 'react-router';
import { useSession } from '../session/session';
import { BrandMark, Icon, type IconName } from './icons';
import { ThemeSwitch } from './theme-switch';

const PAGES: { to: string; label: string; icon: IconName }[] = [
  { to: '/instances', label: 'Instances', icon: 'instances' },
  { to: '/users', label: 'Users', icon: 'users' },
  { to: '/logs', label: 'Logs', icon: 'logs' },
];

function Navigation({ className, itemClass }: { className: string; itemClass: string }) {
  return (
    <nav aria-label="Pages" className={className}>
      {PAGES.map(({ to, label, icon }) => (
        <NavLink
          key={to}
          to={to}
          className={({ isActive }) =>
            `${itemClass} ${
              isActive ? 'bg-accent-soft text-accent' : 'text-muted hover:bg-sunken hover:text-ink'
            }`
          }
        >
          <Icon name={icon} />
          {label}
        </NavLink>
      ))}
    </nav>
  );
}

function LogOutButton() {
  const { logOut } = useSession();
  return (
    <button
      type="button"
      onClick={logOut}
      aria-label="Log out"
      title="Log out"
      className="rounded-lg p-2 text-muted pointer-coarse:p-3 hover:bg-sunken hover:text-ink"
    >
      <Icon name="logout" />
    </button>
  );
}

export function Shell() {
  const { me } = useSession();
  return (
    <div className="min-h-dvh md:grid md:grid-cols-[15rem_minmax(0,1fr)]">
      <a
        href="#content"
        className="sr-only z-40 rounded-lg bg-surface px-4 py-2 font-medium focus:not-sr-only focus:fixed focus:top-3 focus:left-3"
      >
        Skip to the content
      </a>
      <header className="sticky top-0 z-20 flex items-center gap-3 border-b border-line bg-canvas/90 px-4 py-2.5 backdrop-blur md:h-dvh md:flex-col md:items-stretch md:border-r md:border-b-0 md:px-4 md:py-5">
        <div className="flex items-center gap-2.5 md:mb-6 md:px-2">
          <BrandMark />
          <span className="leading-tight font-semibold tracking-tight">Admin panel</span>
        </div>
        <Navigation
          className="hidden flex-col gap-1 md:flex"
          itemClass="flex items-center gap-3 rounded-lg px-3 py-2 text-[0.9375rem] font-medium"
        />
        <div className="ml-auto flex items-center md:mt-auto md:ml-0 md:flex-wrap md:border-t md:border-line md:pt-4">
          <p className="hidden w-full truncate px-2 text-sm font-medium md:block" title={me.email}>
            {me.email}
          </p>
          <p className="mr-auto hidden px-2 text-xs text-muted md:block">{me.role}</p>
          <ThemeSwitch />
          <LogOutButton />
        </div>
      </header>
      <main
        id="content"
        tabIndex={-1}
        className="mx-auto w-full max-w-6xl px-4 pt-6 pb-28 sm:px-8 md:pt-9 md:pb-16"
      >
        <Outlet />
      </main>
      <Navigation
        className="fixed inset-x-0 bottom-0 z-20 grid grid-cols-3 gap-1 border-t border-line bg-surface px-2 py-1.5 md:hidden"
        itemClass="flex flex-col items-center gap-0.5 rounded-lg py-1.5 text-xs font-medium"
      />
    </div>
  );
}

export function PageTitle({
  title,
  subtitle,
  back,
  action,
}: {
  title: string;
  subtitle?: ReactNode;
  back?: { to: string; label: string };
  action?: ReactNode;
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  const { pathname } = useLocation();

  // A new page begins at its title, for those who hear it as well. `pathname` is what makes it new.
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  useEffect(() => {
    heading.current?.focus({ preventScroll: true });
  }, [pathname]);

  return (
    <div className="mb-6">
      <title>{`${title} · Admin panel`}</title>
      {back !== undefined && (
        <NavLink
          to={back.to}
          className="mb-2 -ml-1 inline-flex items-center gap-1 rounded py-0.5 text-sm text-muted pointer-coarse:py-2.5 hover:text-ink"
        >
          <Icon name="back" className="size-4" />
          {back.label}
        </NavLink>
      )}
      <div className="flex flex-wrap items-center justify-between gap-x-6 gap-y-3">
        <div className="min-w-0">
          <h1
            ref={heading}
            tabIndex={-1}
            className="text-2xl font-semibold tracking-tight break-words"
          >
            {title}
          </h1>
          {subtitle !== undefined && <div className="mt-1 text-sm text-muted">{subtitle}</div>}
        </div>
        {action}
      </div>
    </div>
  );
}
