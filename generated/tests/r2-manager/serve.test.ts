// The handler of GET /images/{r2_path}: the URL of an upload gives back the bytes that were uploaded.
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { serveImage, uploadImage } from '@/workers/shared/r2-manager/storage';
import type { UploadResult } from '@/workers/shared/r2-manager/types';
import { emptyBuckets, imageBytes, ORIGIN, optionsWith, storageEnv } from './support';

const REQUEST_ID = '7d2b1c7e-2f0a-4f0e-9d0b-0a1b2c3d4e5f';
const BYTES = imageBytes(1000);

async function fetchUrl(
  url: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<Response> {
  const path = new URL(url).pathname.replace(/^\/images\//, '');
  const request = new Request(url, { method, headers });
  return await serveImage(request, path, storageEnv, REQUEST_ID);
}

async function bytesOf(response: Response): Promise<Uint8Array> {
  return new Uint8Array(await response.arrayBuffer());
}

let uploaded: UploadResult;
let etag: string;

beforeEach(async () => {
  await emptyBuckets();
  uploaded = await uploadImage(BYTES.buffer, optionsWith(), storageEnv);
  etag = (await env.IMAGES.head(uploaded.r2_path))?.httpEtag ?? '';
});

describe('an image', () => {
  test('is served under the URL of its upload', async () => {
    const response = await fetchUrl(uploaded.cdn_url);
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'image/png',
      'content-length': '1000',
      'cache-control': 'public, max-age=31536000, immutable',
      'x-content-type-options': 'nosniff',
      'accept-ranges': 'bytes',
      'content-security-policy': expect.stringMatching(/default-src 'none';.* sandbox$/),
      'x-request-id': REQUEST_ID,
      etag,
    });
    expect(await bytesOf(response)).toEqual(BYTES);
  });

  test('of an odd name, and in the own bucket of its instance, is served as well', async () => {
    const options = optionsWith({
      filename: 'a lighthouse, 50%.png',
      contentType: 'image/webp',
      r2Bucket: 'prod-images',
    });
    const { cdn_url, bucket } = await uploadImage(imageBytes(77).buffer, options, storageEnv);
    expect(bucket).toBe('prod-images');
    const response = await fetchUrl(cdn_url);
    expect(response.headers.get('Content-Type')).toBe('image/webp');
    expect(await bytesOf(response)).toEqual(imageBytes(77));
    const part = await fetchUrl(cdn_url, { headers: { Range: 'bytes=70-' } });
    expect(await bytesOf(part)).toEqual(imageBytes(77).slice(70));
  });

  test('is described without its bytes for HEAD, whatever part it asks for', async () => {
    for (const headers of [{}, { Range: 'bytes=0-9' }]) {
      const response = await fetchUrl(uploaded.cdn_url, { method: 'HEAD', headers });
      expect(response.status).toBe(200);
      expect(response.headers.get('Content-Length')).toBe('1000');
      expect(response.headers.get('ETag')).toBe(etag);
      expect(response.body).toBeNull();
    }
  });
});

describe('If-None-Match', () => {
  test.each([
    ['the same tag', () => etag, 304],
    ['the same tag, weak', () => `W/${etag}`, 304],
    ['the tag among others', () => `"other", ${etag}`, 304],
    ['any tag', () => '*', 304],
    ['another tag', () => '"other"', 200],
  ])('with %s', async (_, header, status) => {
    for (const method of ['GET', 'HEAD']) {
      const headers = { 'If-None-Match': header() };
      const response = await fetchUrl(uploaded.cdn_url, { method, headers });
      expect(response.status).toBe(status);
      expect(response.headers.get('ETag')).toBe(etag);
      const bytes = await bytesOf(response);
      expect(bytes.byteLength).toBe(status === 200 && method === 'GET' ? 1000 : 0);
    }
  });
});

describe('Range', () => {
  test.each([
    ['bytes=0-99', 0, 100],
    ['Bytes=0-99', 0, 100],
    ['bytes=100-199', 100, 200],
    ['bytes=900-', 900, 1000],
    ['bytes=999-5000', 999, 1000],
    ['bytes=-10', 990, 1000],
    ['bytes=-5000', 0, 1000],
    [`bytes=999-${'9'.repeat(400)}`, 999, 1000],
    [`bytes=-${'9'.repeat(20)}`, 0, 1000],
    [`bytes=${'0'.repeat(20)}5-${'0'.repeat(20)}9`, 5, 10],
  ])('%s gives the bytes from %i to %i', async (range, from, to) => {
    const response = await fetchUrl(uploaded.cdn_url, { headers: { Range: range } });
    expect(response.status).toBe(206);
    expect(response.headers.get('Content-Range')).toBe(`bytes ${from}-${to - 1}/1000`);
    expect(response.headers.get('Content-Length')).toBe(String(to - from));
    expect(response.headers.get('Content-Type')).toBe('image/png');
    expect(await bytesOf(response)).toEqual(BYTES.slice(from, to));
  });

  test.each([
    'bytes=1000-',
    'bytes=2000-3000',
    'bytes=-0',
    `bytes=${'9'.repeat(20)}-`,
    `bytes=${'9'.repeat(400)}-${'9'.repeat(401)}`,
  ])('%s is beyond the image', async (range) => {
    const response = await fetchUrl(uploaded.cdn_url, { headers: { Range: range } });
    expect(response.status).toBe(416);
    expect(response.headers.get('Content-Range')).toBe('bytes */1000');
    expect(await response.json()).toMatchObject({ code: 'VALIDATION_FAILED' });
  });

  test.each([
    'bytes=5-1',
    'bytes=9007199254740993-9007199254740992',
    'bytes=-',
    'bytes=0-1,5-9',
    'lines=1-2',
    'bytes=a-b',
  ])('%s is not heeded', async (range) => {
    const response = await fetchUrl(uploaded.cdn_url, { headers: { Range: range } });
    expect(response.status).toBe(200);
    expect((await bytesOf(response)).byteLength).toBe(1000);
  });

  test('counts only for the version that If-Range names', async () => {
    const ask = (ifRange: string) =>
      fetchUrl(uploaded.cdn_url, { headers: { Range: 'bytes=0-9', 'If-Range': ifRange } });
    expect((await bytesOf(await ask(etag))).byteLength).toBe(10);
    expect((await bytesOf(await ask('"other"'))).byteLength).toBe(1000);
  });
});

describe('404', () => {
  test.each([
    'production/content-forge/1_missing.png',
    'production/content-forge',
    'production/content-forge/1_a/b.png',
    'production//1_a.png',
    'Production/content-forge/1_a.png',
    'production/content-forge/secret.txt',
    'production/content-forge/%zz',
    'production/content-forge/1_a%2Fb.png',
    '',
  ])('for /images/%s, as JSON', async (path) => {
    const response = await serveImage(
      new Request(`${ORIGIN}/images/x`),
      path,
      storageEnv,
      REQUEST_ID,
    );
    expect(response.status).toBe(404);
    expect(response.headers.get('Content-Type')).toBe('application/json; charset=utf-8');
    expect(response.headers.get('Cache-Control')).toBe('no-store');
    expect(await response.json()).toEqual({
      error: expect.any(String),
      code: 'NOT_FOUND',
      request_id: REQUEST_ID,
    });
  });

  test.each(['text/html', 'image', 'application/json', undefined])(
    'for what is there, but of type %s',
    async (contentType) => {
      const path = 'production/content-forge/1_page.html';
      await env.IMAGES.put(path, '<script>alert(1)</script>', {
        ...(contentType === undefined ? {} : { httpMetadata: { contentType } }),
      });
      for (const method of ['GET', 'HEAD']) {
        expect((await fetchUrl(`${ORIGIN}/images/${path}`, { method })).status).toBe(404);
      }
    },
  );

  test('for an image that is deleted while a part of it is asked for', async () => {
    const vanishing = new Proxy(env.IMAGES, {
      get(bucket, name) {
        return name === 'get'
          ? () => Promise.resolve(null)
          : Reflect.get(bucket, name).bind(bucket);
      },
    });
    const response = await serveImage(
      new Request(uploaded.cdn_url, { headers: { Range: 'bytes=0-9' } }),
      uploaded.r2_path,
      { ...storageEnv, IMAGES: vanishing },
      REQUEST_ID,
    );
    expect(response.status).toBe(404);
  });
});
