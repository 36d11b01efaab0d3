// Lets the browser applications whose origins are listed call this service, without cookies.

const PREFLIGHT_HEADERS = {
  'Access-Control-Allow-Methods': 'GET, HEAD, POST, PATCH, PUT, DELETE, OPTIONS',
  'Access-Control-Allow-Headers': 'Authorization, Content-Type, X-Request-ID, X-Instance-ID',
  'Access-Control-Max-Age': '86400',
} as const;

function originHeaders(request: Request, allowedOrigins: string): Record<string, string> | null {
  const origin = request.headers.get('Origin');
  const allowed = allowedOrigins.split(',').map((entry) => entry.trim());
  if (origin === null || origin === '' || !allowed.includes(origin)) {
    return null;
  }
  return {
    'Access-Control-Allow-Origin': origin,
    'Access-Control-Expose-Headers': 'X-Request-ID, Retry-After',
    Vary: 'Origin',
  };
}

export function isPreflight(request: Request): boolean {
  return request.method === 'OPTIONS' && request.headers.has('Access-Control-Request-Method');
}

export function preflightHeaders(request: Request, allowedOrigins: string): Record<string, string> {
  const headers = originHeaders(request, allowedOrigins);
  return headers === null ? {} : { ...headers, ...PREFLIGHT_HEADERS };
}

export function corsHeaders(request: Request, allowedOrigins: string): Record<string, string> {
  return originHeaders(request, allowedOrigins) ?? {};
}
