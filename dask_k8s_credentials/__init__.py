"""Where the API server is and who we are: the one loader of credentials, for the controller and the client.

Both log in by kubectl's rules, and neither imports the other. So this package stands below them: it imports
the standard library and PyYAML only, and knows no HTTP library. `load` reads files and may run a credential
plugin, so it blocks; call it again when the API server answers 401, since tokens expire. No key or token
stays behind in a file, and no message contains one.
"""

from dask_k8s_credentials.errors import CredentialsError as CredentialsError
from dask_k8s_credentials.loading import load as load
from dask_k8s_credentials.model import Credentials as Credentials

__all__ = ["Credentials", "CredentialsError", "load"]
