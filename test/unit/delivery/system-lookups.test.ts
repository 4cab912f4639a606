import type { LookupAddress } from 'node:dns';
import { describe, expect, it } from 'vitest';
import { SystemLookups } from '../../../src/delivery/system-lookups.js';

const ANSWER: LookupAddress[] = [{ address: '127.0.0.1', family: 4 }];
const aTurn = () => new Promise(setImmediate);

/** A system that answers, or fails, when it is told to. */
function slowSystem() {
  const asked: string[] = [];
  const answers: ((result: LookupAddress[] | Error) => void)[] = [];
  const lookup = (name: string) => {
    asked.push(name);
    return new Promise<LookupAddress[]>((resolve, reject) =>
      answers.push((result) => (result instanceof Error ? reject(result) : resolve(result))),
    );
  };
  const answerNext = async (result: LookupAddress[] | Error = ANSWER) => {
    answers.shift()?.(result);
    await aTurn();
  };
  return { asked, lookup, answerNext };
}

describe('SystemLookups', () => {
  it('asks for one name at a time, tenants in turn', async () => {
    const { asked, lookup, answerNext } = slowSystem();
    const lookups = new SystemLookups(lookup, 60_000);
    const results = ['a1', 'a2', 'a3', 'b1', 'b2', 'c1'].map((name) => lookups.resolve(name, name.charAt(0)));
    for (let count = 1; count <= results.length; count++) {
      expect(asked).toHaveLength(count);
      await answerNext();
    }
    expect(asked).toEqual(['a1', 'a2', 'b1', 'c1', 'a3', 'b2']);
    expect(await Promise.all(results)).toEqual(results.map(() => ANSWER));
  });

  it('goes on after a failure', async () => {
    const { asked, lookup, answerNext } = slowSystem();
    const lookups = new SystemLookups(lookup, 60_000);
    const first = lookups.resolve('a', 'tenant');
    const second = lookups.resolve('b', 'tenant');
    const failure = expect(first).rejects.toThrow('no such name');
    await answerNext(new Error('no such name'));
    await failure;
    await answerNext();
    expect(await second).toEqual(ANSWER);
    expect(asked).toEqual(['a', 'b']);
  });

  it('never asks for what has waited too long, and goes on when the system answers late', async () => {
    const { asked, lookup, answerNext } = slowSystem();
    const lookups = new SystemLookups(lookup, 20);
    const late = ['hangs', 'waits'].map((name) => lookups.resolve(name, 'tenant'));
    for (const end of await Promise.allSettled(late))
      expect(end).toMatchObject({ reason: { code: 'ETIMEOUT' } });
    expect(asked).toEqual(['hangs']);
    await answerNext();
    const next = lookups.resolve('next', 'tenant');
    await answerNext();
    expect(await next).toEqual(ANSWER);
    expect(asked).toEqual(['hangs', 'next']);
  });

  it('lets so many wait, and fewer of one tenant', async () => {
    const { lookup } = slowSystem();
    const lookups = new SystemLookups(lookup, 60_000);
    const refused = async (tenant: string) => {
      const result = lookups.resolve('name', tenant).then(
        () => null,
        (error: unknown) => (error as { code: string }).code,
      );
      return Promise.race([result, aTurn().then(() => undefined)]);
    };
    // The first is under way, and waits no more.
    for (let count = 0; count <= 100; count++) expect(await refused('flooder')).toBeUndefined();
    expect(await refused('flooder')).toBe('EBUSY');
    for (let count = 100; count < 1_000; count++)
      expect(await refused(`tenant-${count >> 3}`)).toBeUndefined();
    expect(await refused('another')).toBe('EBUSY');
  });
});
