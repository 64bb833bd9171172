"""boto3 makes grants, and a user works by them. Arguments: the user's access key and secret."""

import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ANN = "arn:aws:iam::000000000000:user/ann"


def client(**keys):
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client("kms", endpoint_url=os.environ["HF_KMS"], region_name="us-east-1", config=config, **keys)


def refused(code, call, **kwargs):
    try:
        call(**kwargs)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, (code, error)
        return error.response["Error"]["Message"]
    raise AssertionError(f"{code} was expected of {kwargs}")


ROOT = client()
USER = client(aws_access_key_id=sys.argv[1], aws_secret_access_key=sys.argv[2])
KEY = ROOT.create_key()["KeyMetadata"]["KeyId"]
BLUE = {"team": "blue"}

refused("AccessDeniedException", USER.generate_data_key, KeyId=KEY, KeySpec="AES_256", EncryptionContext=BLUE)
MADE = ROOT.create_grant(
    KeyId=KEY,
    GranteePrincipal=ANN,
    RetiringPrincipal=ANN,
    Operations=["GenerateDataKey", "Decrypt"],
    Constraints={"EncryptionContextSubset": BLUE},
    Name="once",
)
DATA = USER.generate_data_key(KeyId=KEY, KeySpec="AES_256", EncryptionContext=BLUE, GrantTokens=[MADE["GrantToken"]])
OPENED = USER.decrypt(CiphertextBlob=DATA["CiphertextBlob"], EncryptionContext=BLUE)
assert OPENED["Plaintext"] == DATA["Plaintext"]
refused("AccessDeniedException", USER.generate_data_key, KeyId=KEY, KeySpec="AES_256")
refused("AccessDeniedException", USER.encrypt, KeyId=KEY, Plaintext=b"x", EncryptionContext=BLUE)
refused("InvalidGrantTokenException", USER.describe_key, KeyId=KEY, GrantTokens=["nonsense"])
refused("AccessDeniedException", USER.create_grant, KeyId=KEY, GranteePrincipal=ANN, Operations=["Decrypt"])
refused("InvalidArnException", ROOT.create_grant, KeyId=KEY, GranteePrincipal=ANN + "a", Operations=["Decrypt"])

MORE = [
    ROOT.create_grant(KeyId=KEY, GranteePrincipal=ANN, RetiringPrincipal=ANN, Operations=["DescribeKey"])["GrantId"]
    for _ in range(5)
]
PAGES = ROOT.get_paginator("list_grants").paginate(KeyId=KEY, PaginationConfig={"PageSize": 2})
LISTED = [grant for page in PAGES for grant in page["Grants"]]
assert {grant["GrantId"] for grant in LISTED} == {MADE["GrantId"], *MORE}, LISTED
ONE = next(grant for grant in LISTED if grant["GrantId"] == MADE["GrantId"])
assert ONE["Name"] == "once" and ONE["CreationDate"].year > 2000 and ONE["GranteePrincipal"] == ANN, ONE
assert ONE["Constraints"] == {"EncryptionContextSubset": BLUE} and ONE["KeyId"].endswith(KEY), ONE
RETIRABLE = ROOT.list_retirable_grants(RetiringPrincipal=ANN, Limit=100)["Grants"]
assert len(RETIRABLE) == 6, RETIRABLE

USER.retire_grant(GrantToken=MADE["GrantToken"])
refused("AccessDeniedException", USER.decrypt, CiphertextBlob=DATA["CiphertextBlob"], EncryptionContext=BLUE)
USER.describe_key(KeyId=KEY)
for grant in MORE:
    ROOT.revoke_grant(KeyId=KEY, GrantId=grant)
refused("AccessDeniedException", USER.describe_key, KeyId=KEY)
assert ROOT.list_grants(KeyId=KEY)["Grants"] == []

ROOT.rotate_key_on_demand(KeyId=KEY)
assert [one["RotationType"] for one in ROOT.list_key_rotations(KeyId=KEY)["Rotations"]] == ["ON_DEMAND"]
