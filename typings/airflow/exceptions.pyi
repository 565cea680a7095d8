# Where Airflow 3.0 and 3.1 have these exceptions.
from airflow.sdk.exceptions import AirflowException as AirflowException
from airflow.sdk.exceptions import AirflowFailException as AirflowFailException
from airflow.sdk.exceptions import AirflowNotFoundException as AirflowNotFoundException
from airflow.sdk.exceptions import AirflowSensorTimeout as AirflowSensorTimeout
from airflow.sdk.exceptions import AirflowTaskTimeout as AirflowTaskTimeout
from airflow.sdk.exceptions import TaskDeferred as TaskDeferred
