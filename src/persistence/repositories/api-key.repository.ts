import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { ApiKeyEntity } from '../entities/api-key.entity.js';

@Injectable()
export class ApiKeyRepository {
  constructor(@InjectRepository(ApiKeyEntity) private readonly keys: Repository<ApiKeyEntity>) {}

  /** Uses api_key_hash_key. */
  async findOwner(hash: Buffer): Promise<{ keyId: string; tenantId: string } | undefined> {
    const key = await this.keys.findOne({ where: { keyHash: hash }, select: { id: true, tenantId: true } });
    return key ? { keyId: key.id, tenantId: key.tenantId } : undefined;
  }
}
