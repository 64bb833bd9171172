"""boto3 does all that the KMS API has."""

import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

KMS = boto3.client(
    "kms",
    endpoint_url=os.environ["HF_KMS"],
    region_name="us-east-1",
    config=Config(retries={"total_max_attempts": 1}),
)


def refused(code, call, **kwargs):
    try:
        call(**kwargs)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, (code, error)
        return error.response["Error"]["Message"]
    raise AssertionError(f"{code} was expected of {kwargs}")


def keys():
    made = KMS.create_key(Description="orders", Tags=[{"TagKey": "team", "TagValue": "a"}])["KeyMetadata"]
    assert made["KeyState"] == "Enabled" and made["Enabled"] and made["KeyManager"] == "CUSTOMER", made
    assert made["Arn"] == f"arn:aws:kms:us-east-1:000000000000:key/{made['KeyId']}", made
    assert made["EncryptionAlgorithms"] == ["SYMMETRIC_DEFAULT"] and made["CreationDate"].year > 2000, made
    for name in [made["KeyId"], made["Arn"]]:
        assert KMS.describe_key(KeyId=name)["KeyMetadata"] == made
    refused("NotFoundException", KMS.describe_key, KeyId="none")
    refused("UnsupportedOperationException", KMS.create_key, KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    refused("UnsupportedOperationException", KMS.get_public_key, KeyId=made["KeyId"])

    others = [KMS.create_key()["KeyMetadata"]["KeyId"] for _ in range(4)]
    pages = KMS.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 2})
    listed = [key["KeyId"] for page in pages for key in page["Keys"]]
    assert {made["KeyId"], *others} <= set(listed) and len(set(listed)) == len(listed), listed
    refused("InvalidMarkerException", KMS.list_keys, Marker="bad")

    assert KMS.list_key_policies(KeyId=made["KeyId"])["PolicyNames"] == ["default"]
    policy = KMS.get_key_policy(KeyId=made["KeyId"])["Policy"]
    KMS.put_key_policy(KeyId=made["KeyId"], Policy=policy)
    refused("MalformedPolicyDocumentException", KMS.put_key_policy, KeyId=made["KeyId"], Policy=policy.replace("*", "x"))
    refused("MalformedPolicyDocumentException", KMS.put_key_policy, KeyId=made["KeyId"], Policy=policy.replace("kms:*", "kms:Encrypt"))
    own = policy.replace("kms:*", "kms:??*")
    KMS.put_key_policy(KeyId=made["KeyId"], Policy=own)
    assert KMS.get_key_policy(KeyId=made["KeyId"], PolicyName="default")["Policy"] == own
    KMS.put_key_policy(KeyId=made["KeyId"], Policy=policy)

    KMS.update_key_description(KeyId=made["KeyId"], Description="invoices")
    assert KMS.describe_key(KeyId=made["KeyId"])["KeyMetadata"]["Description"] == "invoices"
    KMS.tag_resource(KeyId=made["KeyId"], Tags=[{"TagKey": "b", "TagValue": "2"}, {"TagKey": "team", "TagValue": "x"}])
    KMS.untag_resource(KeyId=made["KeyId"], TagKeys=["b"])
    assert KMS.list_resource_tags(KeyId=made["KeyId"])["Tags"] == [{"TagKey": "team", "TagValue": "x"}]
    return made, others[0]


def aliases(key, other):
    KMS.create_alias(AliasName="alias/orders", TargetKeyId=key["KeyId"])
    refused("AlreadyExistsException", KMS.create_alias, AliasName="alias/orders", TargetKeyId=other)
    arn = "arn:aws:kms:us-east-1:000000000000:alias/orders"
    for name in ["alias/orders", arn]:
        assert KMS.describe_key(KeyId=name)["KeyMetadata"]["KeyId"] == key["KeyId"]
    KMS.create_alias(AliasName="alias/second", TargetKeyId=key["Arn"])
    KMS.update_alias(AliasName="alias/second", TargetKeyId=other)
    named = {a["AliasName"]: a for page in KMS.get_paginator("list_aliases").paginate() for a in page["Aliases"]}
    assert named["alias/second"]["TargetKeyId"] == other and named["alias/orders"]["AliasArn"] == arn, named
    of_key = KMS.list_aliases(KeyId=key["KeyId"])["Aliases"]
    assert [alias["AliasName"] for alias in of_key] == ["alias/orders"], of_key
    KMS.delete_alias(AliasName="alias/second")
    refused("NotFoundException", KMS.describe_key, KeyId="alias/second")


def messages(key, other):
    context = {"order": "7", "aws:x": "ü"}
    sealed = KMS.encrypt(KeyId="alias/orders", Plaintext=b"secret", EncryptionContext=context)
    assert sealed["KeyId"] == key["Arn"] and sealed["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT", sealed
    blob = sealed["CiphertextBlob"]
    opened = KMS.decrypt(CiphertextBlob=blob, EncryptionContext=context)
    assert opened["Plaintext"] == b"secret" and opened["KeyId"] == key["Arn"], opened
    assert KMS.decrypt(CiphertextBlob=blob, EncryptionContext=context, KeyId="alias/orders")["Plaintext"] == b"secret"
    refused("InvalidCiphertextException", KMS.decrypt, CiphertextBlob=blob)
    refused("InvalidCiphertextException", KMS.decrypt, CiphertextBlob=blob, EncryptionContext={"order": "8"})
    refused("InvalidCiphertextException", KMS.decrypt, CiphertextBlob=b"x" * 100)
    refused("IncorrectKeyException", KMS.decrypt, CiphertextBlob=blob, EncryptionContext=context, KeyId=other)
    refused("DryRunOperationException", KMS.encrypt, KeyId=other, Plaintext=b"x", DryRun=True)

    moved = KMS.re_encrypt(CiphertextBlob=blob, SourceEncryptionContext=context, DestinationKeyId=other)
    assert moved["SourceKeyId"] == key["Arn"] and moved["KeyId"].endswith(other), moved
    assert KMS.decrypt(CiphertextBlob=moved["CiphertextBlob"])["Plaintext"] == b"secret"

    for asked, size in [({"KeySpec": "AES_256"}, 32), ({"KeySpec": "AES_128"}, 16), ({"NumberOfBytes": 1024}, 1024)]:
        made = KMS.generate_data_key(KeyId=key["KeyId"], EncryptionContext=context, **asked)
        assert len(made["Plaintext"]) == size
        opened = KMS.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)
        assert opened["Plaintext"] == made["Plaintext"]
    made = KMS.generate_data_key_without_plaintext(KeyId=key["KeyId"], KeySpec="AES_256")
    assert "Plaintext" not in made and len(KMS.decrypt(CiphertextBlob=made["CiphertextBlob"])["Plaintext"]) == 32
    random = [KMS.generate_random(NumberOfBytes=64)["Plaintext"] for _ in range(2)]
    assert len(random[0]) == 64 and random[0] != random[1]
    return blob, context


def versions(key, blob, context):
    assert KMS.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]
    KMS.disable_key_rotation(KeyId=key["KeyId"])
    assert not KMS.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]
    KMS.enable_key_rotation(KeyId=key["KeyId"], RotationPeriodInDays=365)
    status = KMS.get_key_rotation_status(KeyId=key["KeyId"])
    assert status["RotationPeriodInDays"] == 365 and status["NextRotationDate"], status
    for _ in range(3):
        assert KMS.rotate_key_on_demand(KeyId=key["KeyId"])["KeyId"] == key["KeyId"]
    pages = KMS.get_paginator("list_key_rotations").paginate(KeyId=key["KeyId"], PaginationConfig={"PageSize": 2})
    assert len([rotation for page in pages for rotation in page["Rotations"]]) == 3
    assert KMS.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"secret"


def states(key, blob, context):
    KMS.disable_key(KeyId=key["KeyId"])
    refused("DisabledException", KMS.decrypt, CiphertextBlob=blob, EncryptionContext=context)
    refused("DisabledException", KMS.encrypt, KeyId=key["KeyId"], Plaintext=b"x")
    KMS.enable_key(KeyId=key["KeyId"])
    told = KMS.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    assert told["KeyState"] == "PendingDeletion" and told["PendingWindowInDays"] == 7 and told["DeletionDate"], told
    refused("KMSInvalidStateException", KMS.decrypt, CiphertextBlob=blob, EncryptionContext=context)
    assert KMS.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["DeletionDate"] == told["DeletionDate"]
    assert KMS.cancel_key_deletion(KeyId=key["KeyId"])["KeyId"] == key["Arn"]
    assert KMS.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "Disabled"
    KMS.enable_key(KeyId=key["KeyId"])
    assert KMS.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"secret"


def stranger(access, secret, key, blob):
    """Somebody whose policy allows the one key under the one context."""
    client = boto3.client(
        "kms",
        endpoint_url=os.environ["HF_KMS"],
        region_name="us-east-1",
        aws_access_key_id=access,
        aws_secret_access_key=secret,
    )
    mine = {"team": "blue"}
    client.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=mine)
    words = refused("AccessDeniedException", client.encrypt, KeyId=key, Plaintext=b"x")
    assert "is not authorized to perform: kms:Encrypt on resource: arn:aws:kms:" in words, words
    refused("AccessDeniedException", client.create_key)
    refused("AccessDeniedException", client.decrypt, CiphertextBlob=blob)


def main():
    key, other = keys()
    aliases(key, other)
    blob, context = messages(key, other)
    versions(key, blob, context)
    states(key, blob, context)
    if len(sys.argv) == 3:
        stranger(sys.argv[1], sys.argv[2], key["KeyId"], blob)


main()
