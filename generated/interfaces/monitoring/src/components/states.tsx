// What stands in for data: trouble, loading, notices.
import type { ReactNode } from 'react';

export function FullPage({ children }: { children: ReactNode }) {
  return <main className="grid min-h-dvh place-items-center p-4">{children}</main>;
}

interface TroubleProps {
  title: string;
  message: string;
  requestId?: string | null;
  children?: ReactNode;
}

export function Trouble({ title, message, requestId, children }: TroubleProps) {
  return (
    <section role="alert" className="card mx-auto w-full max-w-lg p-6">
      <h2 className="text-lg font-semibold text-danger">{title}</h2>
      <p className="mt-1 wrap-anywhere">{message}</p>
      {requestId ? (
        <p className="mt-1 text-sm wrap-anywhere text-muted">Request id {requestId}</p>
      ) : null}
      <div className="mt-4 flex flex-wrap gap-2">{children}</div>
    </section>
  );
}

export function StaleNotice({ children }: { children: ReactNode }) {
  return (
    <div
      role="status"
      className="rounded-lg border-l-3 border-warning bg-warning-soft px-4 py-3 text-sm wrap-anywhere"
    >
      {children}
    </div>
  );
}

const SKELETON_CARDS = ['requests', 'errors', 'response', 'limits'];

export function LoadingDashboard() {
  return (
    <>
      <p role="status" className="sr-only">
        Loading the metrics…
      </p>
      <div aria-hidden="true" className="grid gap-4">
        <div className="skeleton h-28" />
        <div className="grid gap-4 lg:grid-cols-2">
          {SKELETON_CARDS.map((card) => (
            <div key={card} className="skeleton h-80" />
          ))}
        </div>
      </div>
    </>
  );
}
