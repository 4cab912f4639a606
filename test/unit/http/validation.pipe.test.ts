import { expect, it } from 'vitest';
import { Problem } from '../../../src/domain/errors.js';
import { MAX_FIELDS, validationPipe } from '../../../src/http/validation.pipe.js';
import { SubscriptionDto } from '../../../src/subscriptions/subscription.dto.js';

const FIELDS = 900;
const fields = (name: (index: number) => string): object =>
  Object.fromEntries(Array.from({ length: FIELDS }, (_, index) => [name(index), 1]));

const transform = async (body: object): Promise<unknown> =>
  validationPipe.transform(
    { target_url: 'https://a.example/', ...body },
    {
      type: 'body',
      metatype: SubscriptionDto,
    },
  );

/** Of ten runs: what else the machine does only adds. */
async function leastMs(run: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < 10; round++) {
    const start = performance.now();
    await run().catch(() => undefined);
    times.push(performance.now() - start);
  }
  return Math.min(...times);
}

it.each([
  ['unknown', fields((index) => `event_typ${index}`)],
  ['unknown and long', fields((index) => `${'event_types'.repeat(5)}${index}`)],
  ['of hidden characters', fields((index) => `a\u202e${index}`)],
])('names 50 of hundreds of fields that are %s, for little more than known ones cost', async (_, body) => {
  const problem: unknown = await transform(body).catch((error: unknown) => error);
  expect(problem).toBeInstanceOf(Problem);
  expect((problem as Problem).errors).toHaveLength(50);
  const known = await leastMs(() => transform({ metadata: fields((index) => `event_typ${index}`) }));
  expect((await leastMs(() => transform(body))) / known).toBeLessThan(5);
});

const objectOf = (size: number): object =>
  Object.fromEntries(Array.from({ length: size }, (_, index) => [`k${index}`, 1]));

it.each<[string, (members: object) => object, string]>([
  ['body', (members) => ({ ...members }), 'body'],
  ['field', (members) => ({ metadata: members }), 'metadata'],
  ['field in a list', (members) => ({ metadata: { a: [1, { b: members }] } }), 'metadata.a[1].b'],
])(
  'an object of more fields than class-transformer can compare is refused in a %s',
  async (_, body, path) => {
    const problem: unknown = await transform(body(objectOf(MAX_FIELDS + 1))).catch((error: unknown) => error);
    expect(problem).toMatchObject({
      code: 'invalid_request',
      errors: [{ path, message: `must have at most ${MAX_FIELDS} fields` }],
    });
  },
);

it('an object of as many fields as are permitted is taken', async () => {
  const metadata = objectOf(MAX_FIELDS);
  expect(await transform({ metadata })).toMatchObject({ metadata });
});
