// A wrangler that records how it was called and uploads to the API that its environment names. FAIL_FOR in the file
// `fail-for` next to the record makes it fail for the Workers listed there.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const [record, ...argv] = process.argv.slice(2);
const flag = (named) => argv[argv.indexOf(named) + 1];
const name = flag('--name');
const config = JSON.parse(readFileSync(flag('--config'), 'utf8'));
appendFileSync(record, `${JSON.stringify({ argv, environment: process.env, config })}\n`);

const failing = join(dirname(record), 'fail-for');
if (existsSync(failing) && readFileSync(failing, 'utf8').split('\n').includes(name)) {
  console.error(`upload of ${name} failed; the token was ${process.env.CLOUDFLARE_API_TOKEN}`);
  process.exit(1);
}
const { CLOUDFLARE_API_BASE_URL: base, CLOUDFLARE_ACCOUNT_ID: account } = process.env;
const answer = await fetch(`${base}/accounts/${account}/workers/scripts/${name}`, {
  method: 'PUT',
  headers: {
    Authorization: `Bearer ${process.env.CLOUDFLARE_API_TOKEN}`,
    'Content-Type': 'application/json',
  },
  body: JSON.stringify({ message: flag('--message'), config }),
});
process.exit(answer.ok ? 0 : 1);
