// Prints a new key for a user to stderr, once, and the SQL that stores its hash to stdout:
//
//   npx tsx infrastructure/auth/issue-key.cli.ts <user_id> > key.sql
//   npx wrangler d1 execute DB --config infrastructure/config-service/wrangler.toml --remote --file key.sql
import { randomUUID } from 'node:crypto';
import { argv, exit, stderr, stdout } from 'node:process';
import { firstKeyStatement } from './bootstrap';
import { generateApiKey } from './key-manager';

const userId = argv[2];
if (userId === undefined || argv.length > 3) {
  stderr.write('usage: npx tsx infrastructure/auth/issue-key.cli.ts <user_id> > key.sql\n');
  exit(2);
}
const generated = await generateApiKey();
stdout.write(firstKeyStatement({ keyId: randomUUID(), userId, createdAt: new Date(), generated }));
stderr.write(`${generated.key}\n`);
