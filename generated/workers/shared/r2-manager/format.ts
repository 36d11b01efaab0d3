// What counts as an image: what its source says is one. Its bytes are stored and served as they are.

const IMAGE_TYPE = /^image\/([a-z0-9][a-z0-9!#$&^_.+-]{0,126})$/;
const EXTENSION_CHARACTERS_MAX = 16;

/** Where the extension is not the type's own name. */
const EXTENSIONS: ReadonlyMap<string, string> = new Map([
  ['image/jpeg', 'jpg'],
  ['image/pjpeg', 'jpg'],
  ['image/svg+xml', 'svg'],
  ['image/x-icon', 'ico'],
  ['image/vnd.microsoft.icon', 'ico'],
]);

/** `image/png` for `Image/PNG; charset=binary`; null for the type of anything but an image. */
export function imageTypeOf(contentType: string | null | undefined): string | null {
  const type = (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  return IMAGE_TYPE.test(type) ? type : null;
}

/** Of a type that `imageTypeOf` has given, in characters that a path may have. */
export function extensionOf(imageType: string): string {
  const name = IMAGE_TYPE.exec(imageType)?.[1] ?? '';
  const characters = name.replaceAll(/[^a-z0-9]+/g, '-').slice(0, EXTENSION_CHARACTERS_MAX);
  return EXTENSIONS.get(imageType) ?? characters.replace(/-$/, '');
}
