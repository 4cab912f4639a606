import { execFile, spawn } from 'node:child_process';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { codeBlocks, readDocument, ROOT } from '../support/markdown.js';

/** One question to the functions of docs/verifying.md: is this delivery to be believed? */
export interface Question {
  header: 'standard' | 'simple';
  secret: string;
  headers: Record<string, string>;
  body: Buffer;
}

/** How the code of a page becomes a program that reads questions, one a line, and prints the answers. */
interface Language {
  name: string;
  /** What the fence of its code block says. */
  fence: string;
  /** The programs that must be on the PATH. */
  needs: string[];
  /** Compiles for seconds, or gets packages, so it runs in `npm run test:snippets` alone. */
  slow?: true;
  /** Where the code and the driver go, and other files. */
  files: { code: string; driver?: [name: string, to: string]; others?: Record<string, string> };
  compile?: string[];
  run: string[];
}

const CARGO = `[package]
name = "driver"
version = "0.0.0"
edition = "2021"
[dependencies]
hmac = "0.12"
sha2 = "0.10"
base64 = "0.22"
subtle = "2"
`;

export const LANGUAGES: Language[] = [
  { name: 'JavaScript', fence: 'js', needs: [], files: { code: 'verify.mjs' }, run: [] },
  {
    name: 'Python',
    fence: 'python',
    needs: ['python3'],
    files: { code: 'verify.py', driver: ['driver.py', 'driver.py'] },
    run: ['python3', 'driver.py'],
  },
  {
    name: 'Go',
    fence: 'go',
    needs: ['go'],
    slow: true,
    files: {
      code: 'webhook/webhook.go',
      driver: ['driver.go', 'main.go'],
      others: { 'go.mod': 'module example.test\n\ngo 1.20\n' },
    },
    compile: ['go', 'build', '-o', 'driver', '.'],
    run: ['./driver'],
  },
  {
    name: 'Rust',
    fence: 'rust',
    needs: ['cargo'],
    slow: true,
    files: {
      code: 'src/verify.rs',
      driver: ['driver.rs', 'src/main.rs'],
      others: { 'Cargo.toml': CARGO },
    },
    compile: ['cargo', 'build', '--quiet'],
    run: ['./target/debug/driver'],
  },
  {
    name: 'Java',
    fence: 'java',
    needs: ['javac', 'java'],
    files: { code: 'WebhookVerifier.java', driver: ['Driver.java', 'Driver.java'] },
    compile: ['javac', 'WebhookVerifier.java', 'Driver.java'],
    run: ['java', '-XX:TieredStopAtLevel=1', 'Driver'],
  },
  {
    name: 'Ruby',
    fence: 'ruby',
    needs: ['ruby'],
    files: { code: 'verify.rb', driver: ['driver.rb', 'driver.rb'] },
    run: ['ruby', 'driver.rb'],
  },
  {
    name: 'PHP',
    fence: 'php',
    needs: ['php'],
    files: { code: 'verify.php', driver: ['driver.php', 'driver.php'] },
    run: ['php', 'driver.php'],
  },
];

const SNIPPETS = codeBlocks(readDocument('docs/verifying.md', 'Without a library'));
/** Compilers keep what they have made here from one run to the next. */
const WORK = join(ROOT, 'node_modules/.cache/posthorn-verifying');
const COMPILE_TIMEOUT_MS = 300_000;

/** Those of the programs that are not on the PATH. */
export async function missingPrograms({ needs }: Language): Promise<string[]> {
  const found = await Promise.all(
    needs.map((program) => promisify(execFile)('which', [program]).then(Boolean, () => false)),
  );
  return needs.filter((_, index) => !found[index]);
}

/** Asks the function that the page shows for a language. */
export async function answersIn(language: Language, questions: Question[]): Promise<boolean[]> {
  const { code, driver, others = {} } = language.files;
  const folder = join(WORK, language.fence);
  const snippet = SNIPPETS.find(({ language: fence }) => fence === language.fence)!;
  await write(join(folder, code), snippet.code);
  for (const [name, text] of Object.entries(others)) await write(join(folder, name), text);
  if (driver === undefined) return inThisProcess(join(folder, code), questions);
  await copyFile(join(import.meta.dirname, driver[0]), join(folder, driver[1]));
  if (language.compile) await run(language.compile, folder, '');
  const lines = (await run(language.run, folder, questions.map(lineOf).join(''))).trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as boolean);
}

type Verify = (headers: Record<string, string>, body: Buffer, secret: string) => boolean;

async function inThisProcess(file: string, questions: Question[]): Promise<boolean[]> {
  const module = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as Record<
    'verify' | 'verifySimple',
    Verify
  >;
  return questions.map(({ header, headers, body, secret }) =>
    (header === 'standard' ? module.verify : module.verifySimple)(headers, body, secret),
  );
}

/** Four fields in base64: which function, the secret, the headers, the body. */
function lineOf({ header, secret, headers, body }: Question): string {
  const named = Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}`)
    .join('\n');
  return `${[header, secret, named, body].map((field) => Buffer.from(field).toString('base64')).join(' ')}\n`;
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

/** @returns what the program writes to its standard output */
function run([program = '', ...args]: string[], cwd: string, input: string): Promise<string> {
  const child = spawn(program, args, { cwd, stdio: 'pipe', timeout: COMPILE_TIMEOUT_MS });
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  child.stdin.on('error', () => undefined); // it ended early, which its exit code tells
  child.stdin.end(input);
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('close', (code) => {
      if (code === 0) done(output);
      else fail(new Error(`${program} ${args.join(' ')} ended with ${String(code)}:\n${errors}${output}`));
    });
  });
}
