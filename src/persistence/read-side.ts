import { Injectable } from '@nestjs/common';
import { ReadDatabase } from './read-database.js';
import { DeadLetterRepository } from './repositories/dead-letter.repository.js';
import { DeliveryRepository } from './repositories/delivery.repository.js';
import { EventRepository } from './repositories/event.repository.js';
import { StatisticsRepository } from './repositories/statistics.repository.js';
import { SearchRepository } from './repositories/search.repository.js';

/** Questions that change nothing. */
export interface Reads {
  events: Pick<EventRepository, 'find' | 'findByKeys' | 'list' | 'payload'>;
  deliveries: Pick<DeliveryRepository, 'attempts' | 'find' | 'list'>;
  deadLetters: Pick<DeadLetterRepository, 'find' | 'list'>;
  statistics: Pick<StatisticsRepository, 'now' | 'series' | 'worst'>;
  search: Pick<SearchRepository, 'search'>;
}

/**
 * What people look at, read from a replica where there is one. Its answers may be older than the last change, so what
 * decides on a change is asked of the repositories themselves.
 */
@Injectable()
export class ReadSide {
  /** For lists. */
  readonly late: Reads;
  private readonly primary: Reads;
  private readonly hasReplica: boolean;

  constructor(
    database: ReadDatabase,
    events: EventRepository,
    deliveries: DeliveryRepository,
    deadLetters: DeadLetterRepository,
    statistics: StatisticsRepository,
    search: SearchRepository,
  ) {
    this.primary = { events, deliveries, deadLetters, statistics, search };
    this.hasReplica = database.hasReplica;
    this.late = {
      events: new EventRepository(database),
      deliveries: new DeliveryRepository(database),
      deadLetters: new DeadLetterRepository(database),
      statistics: new StatisticsRepository(database),
      search: new SearchRepository(database),
    };
  }

  /** For one thing by its id or key: what a replica does not have yet, the primary may have. */
  async find<T>(ask: (reads: Reads) => Promise<T | undefined>): Promise<T | undefined> {
    const found = await ask(this.late);
    return found === undefined && this.hasReplica ? ask(this.primary) : found;
  }
}
