# The part of Apache Airflow 3 that this project touches, so that types are checked without Airflow.
# tests/lanes/airflow runs the same code against Airflow itself.
