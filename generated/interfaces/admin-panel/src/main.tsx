// Starts the admin panel in the browser.
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { createBrowserRouter } from 'react-router';
import { App } from './app';
import { applyStoredTheme } from './components/theme-switch';
import { ROUTES } from './routes';
import './theme.css';

applyStoredTheme();

const root = document.getElementById('root');
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <App router={createBrowserRouter(ROUTES)} />
    </StrictMode>,
  );
}
