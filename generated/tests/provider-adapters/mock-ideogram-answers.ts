// How the mock Ideogram writes its answers: as no client should expect them, and by a seed always the same.
import { seededRandom } from '@/workers/shared/provider-adapters/png';
import { changeFields, cutOff, type MockFault } from './mock-ideogram-faults';

export class Answers {
  readonly random: () => number;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  /** Fields in any order. */
  json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
    // These statuses have no body, whatever a test wants.
    const text = [204, 304].includes(status) ? null : JSON.stringify(this.reordered(body));
    return new Response(text, {
      status,
      headers: { 'Content-Type': this.jsonType(), ...headers },
    });
  }

  error(status: number, error: string, headers: Record<string, string> = {}): Response {
    return this.json(status, { error }, headers);
  }

  /** A success, as far as the fault leaves it one. */
  success(body: unknown, fault: MockFault | undefined): Response {
    if (fault?.kind === 'missing-fields') {
      const changes = Object.fromEntries(fault.fields.map((name) => [name, undefined]));
      return this.json(200, changeFields(body, changes));
    }
    if (fault?.kind === 'wrong-fields') {
      return this.json(200, changeFields(body, fault.fields));
    }
    const text =
      fault?.kind === 'malformed-json' ? '{"data": [{' : JSON.stringify(this.reordered(body));
    return this.bytes(new TextEncoder().encode(text), this.jsonType(), fault);
  }

  bytes(bytes: Uint8Array, contentType: string, fault: MockFault | undefined): Response {
    const headers = { 'Content-Type': contentType };
    if (fault?.kind === 'drop-body' || fault?.kind === 'stall-body') {
      return new Response(cutOff(bytes, fault.kind === 'drop-body' ? 'drop' : 'stall'), {
        headers,
      });
    }
    return new Response(bytes, { headers });
  }

  /** Headers in any order, with names in any case. */
  rawHeaders(response: Response): [string, string][] {
    const cases = [
      (name: string) => name,
      (name: string) => name.toUpperCase(),
      (name: string) => name.replace(/(^|-)[a-z]/g, (letters) => letters.toUpperCase()),
    ];
    return this.shuffled([...response.headers]).map(([name, value]) => [
      (cases[Math.floor(this.random() * cases.length)] ?? String)(name),
      value,
    ]);
  }

  private jsonType(): string {
    return this.random() < 0.5 ? 'application/json' : 'Application/JSON; Charset=UTF-8';
  }

  private reordered(value: unknown): unknown {
    if (Array.isArray(value)) {
      return value.map((item) => this.reordered(item));
    }
    if (typeof value !== 'object' || value === null) {
      return value;
    }
    return Object.fromEntries(
      this.shuffled(Object.entries(value)).map(([name, field]) => [name, this.reordered(field)]),
    );
  }

  private shuffled<Item>(items: readonly Item[]): Item[] {
    return items
      .map((item): [number, Item] => [this.random(), item])
      .sort(([left], [right]) => left - right)
      .map(([, item]) => item);
  }
}
